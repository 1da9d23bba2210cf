/* What a device owner's C program does with a broker, through Debian's libpaho-mqtt.
 *
 * Arguments: PROTOCOL (3, 4 or 5) PORT CA CERTIFICATE KEY DEVICE PASSWORD. Prints "ok NAME" for each scenario that went well,
 * and ends with a sentence at the first that did not. */

#include <MQTTClient.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int protocol;
static const char *ca, *certificate, *key, *password;
static char url[64], prefix[256];

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static const char *topic(const char *name) {
    static char texts[8][300];
    static int next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%s/%s", prefix, name);
    return text;
}

struct options {
    bool persistent;
    MQTTClient_willOptions *will;
    bool *session_present;
};

static MQTTClient connected(const char *name, struct options options) {
    MQTTClient client;
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    create.MQTTVersion = protocol;
    if (MQTTClient_createWithOptions(&client, url, name, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create) != 0)
        fail("create %s", name);
    MQTTClient_connectOptions connect = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions connect5 = MQTTClient_connectOptions_initializer5;
    if (protocol == 5) connect = connect5;
    MQTTClient_SSLOptions tls = MQTTClient_SSLOptions_initializer;
    tls.trustStore = ca;
    tls.keyStore = certificate;
    tls.privateKey = key;
    tls.enableServerCertAuth = 1;
    tls.verify = 1;
    connect.ssl = &tls;
    connect.MQTTVersion = protocol;
    connect.username = "owner";
    connect.password = password;
    connect.connectTimeout = 30;
    connect.will = options.will;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTResponse response;
    if (protocol == 5) {
        connect.cleanstart = !options.persistent;
        MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                               .value.integer4 = options.persistent ? 600 : 0};
        MQTTProperties_add(&properties, &expiry);
        response = MQTTClient_connect5(client, &connect, &properties, NULL);
        if (options.session_present) *options.session_present = connect.returned.sessionPresent;
        MQTTProperties_free(&properties);
        if (response.reasonCode != MQTTREASONCODE_SUCCESS) fail("connect %s: %d", name, response.reasonCode);
        MQTTResponse_free(response);
    } else {
        connect.cleansession = !options.persistent;
        int code = MQTTClient_connect(client, &connect);
        if (code != MQTTCLIENT_SUCCESS) fail("connect %s: %d", name, code);
        if (options.session_present) *options.session_present = connect.returned.sessionPresent;
    }
    return client;
}

static void subscribe(MQTTClient client, const char *filter, int qos) {
    if (protocol == 5) {
        MQTTResponse response = MQTTClient_subscribe5(client, filter, qos, NULL, NULL);
        if ((int)response.reasonCode != qos) fail("subscribe %s: %d", filter, response.reasonCode);
        MQTTResponse_free(response);
    } else {
        int code = MQTTClient_subscribe(client, filter, qos);
        if (code != MQTTCLIENT_SUCCESS) fail("subscribe %s: %d", filter, code);
    }
}

static void publish(MQTTClient client, const char *name, const void *payload, size_t bytes, int qos, bool retain,
                    MQTTProperties *properties) {
    MQTTClient_message message = MQTTClient_message_initializer;
    message.payload = (void *)payload;
    message.payloadlen = (int)bytes;
    message.qos = qos;
    message.retained = retain;
    MQTTClient_deliveryToken token;
    int code;
    if (protocol == 5) {
        if (properties) message.properties = *properties;
        MQTTResponse response = MQTTClient_publishMessage5(client, name, &message, &token);
        code = response.reasonCode;
        MQTTResponse_free(response);
    } else {
        code = MQTTClient_publishMessage(client, name, &message, &token);
    }
    if (code != MQTTCLIENT_SUCCESS) fail("publish %s: %d", name, code);
    if (qos > 0 && (code = MQTTClient_waitForCompletion(client, token, 30000)) != MQTTCLIENT_SUCCESS)
        fail("publish %s is not completed: %d", name, code);
}

/* The next message, which must be this one. Returned for its properties. */
static MQTTClient_message *expect(MQTTClient client, const void *payload, size_t bytes, int qos, bool retained) {
    char *name = NULL;
    int length;
    MQTTClient_message *message = NULL;
    int code = MQTTClient_receive(client, &name, &length, &message, 30000);
    if (message == NULL) fail("no message came: %d", code);
    if ((size_t)message->payloadlen != bytes || memcmp(message->payload, payload, bytes) != 0)
        fail("%s: another payload, %d bytes: %.*s", name, message->payloadlen, message->payloadlen % 100, (char *)message->payload);
    if (message->qos != qos || !message->retained != !retained)
        fail("%s: QoS %d, retained %d", name, message->qos, message->retained);
    MQTTClient_free(name);
    return message;
}

static void expect_text(MQTTClient client, const char *payload, int qos, bool retained) {
    MQTTClient_message *message = expect(client, payload, strlen(payload), qos, retained);
    MQTTClient_freeMessage(&message);
}

static void disconnect(MQTTClient client) {
    int code = protocol == 5 ? MQTTClient_disconnect5(client, 5000, MQTTREASONCODE_SUCCESS, NULL)
                             : MQTTClient_disconnect(client, 5000);
    if (code != 0) fail("disconnect: %d", code);
    MQTTClient_destroy(&client);
}

static void round_trip(void) {
    MQTTClient client = connected("c-round", (struct options){0});
    subscribe(client, topic("round/#"), 2);
    for (int qos = 0; qos <= 2; qos++) {
        publish(client, topic("round/x"), "hello", 5, qos, false, NULL);
        expect_text(client, "hello", qos, false);
    }
    disconnect(client);
}

static void retained(void) {
    MQTTClient client = connected("c-retained", (struct options){0});
    publish(client, topic("kept"), "kept", 4, 1, true, NULL);
    subscribe(client, topic("kept"), 1);
    expect_text(client, "kept", 1, true);
    disconnect(client);
}

static void will(const char *program, char **arguments) {
    MQTTClient watcher = connected("c-watcher", (struct options){0});
    subscribe(watcher, topic("will"), 1);
    /* A program of its own that ends without a word. */
    char command[4096];
    int used = snprintf(command, sizeof command, "'%s'", program);
    for (int i = 1; i <= 7; i++) used += snprintf(command + used, sizeof command - used, " '%s'", arguments[i]);
    snprintf(command + used, sizeof command - used, " '%s'", topic("will"));
    if (system(command) != 0) fail("the client with a will failed");
    expect_text(watcher, "gone", 1, false);
    disconnect(watcher);
}

static void die_with_will(const char *will_topic) {
    MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
    will.topicName = will_topic;
    will.message = "gone";
    will.qos = 1;
    connected("c-victim", (struct options){.will = &will});
    _exit(0);
}

static void session(void) {
    bool present = true;
    MQTTClient publisher = connected("c-publisher", (struct options){0});
    MQTTClient first = connected("c-session", (struct options){.persistent = true, .session_present = &present});
    if (present) fail("a session that nobody had is present");
    subscribe(first, topic("session"), 2);
    disconnect(first);
    publish(publisher, topic("session"), "one", 3, 1, false, NULL);
    publish(publisher, topic("session"), "two", 3, 2, false, NULL);
    MQTTClient second = connected("c-session", (struct options){.persistent = true, .session_present = &present});
    /* The library tells it with 3.1.1 only. */
    if (!present && protocol == 4) fail("the session is not present");
    expect_text(second, "one", 1, false);
    expect_text(second, "two", 2, false);
    disconnect(second);
    MQTTClient third = connected("c-session", (struct options){.session_present = &present});
    if (present) fail("the session is present after a clean start");
    disconnect(third);
    disconnect(publisher);
}

static void shared(void) {
    char filter[400];
    snprintf(filter, sizeof filter, "$share/group/%s", topic("shared"));
    MQTTClient members[2] = {connected("c-one", (struct options){0}), connected("c-two", (struct options){0})};
    MQTTClient publisher = connected("c-sender", (struct options){0});
    for (int i = 0; i < 2; i++) subscribe(members[i], filter, 1);
    for (int i = 0; i < 10; i++) publish(publisher, topic("shared"), "x", 1, 1, false, NULL);
    int got = 0;
    for (int attempts = 0; got < 10 && attempts < 1000; attempts++) {
        char *name = NULL;
        int length;
        MQTTClient_message *message = NULL;
        MQTTClient_receive(members[attempts % 2], &name, &length, &message, 50);
        if (!message) continue;
        got++;
        MQTTClient_freeMessage(&message);
        MQTTClient_free(name);
    }
    if (got != 10) fail("%d of 10 messages reached the group", got);
    for (int i = 0; i < 2; i++) disconnect(members[i]);
    disconnect(publisher);
}

static void large(void) {
    size_t bytes = 1000 * 1000;
    char *payload = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) payload[i] = (char)(i * 31 % 251);
    MQTTClient client = connected("c-large", (struct options){0});
    subscribe(client, topic("large"), 2);
    for (int qos = 0; qos <= 2; qos++) {
        publish(client, topic("large"), payload, bytes, qos, false, NULL);
        MQTTClient_message *message = expect(client, payload, bytes, qos, false);
        MQTTClient_freeMessage(&message);
    }
    disconnect(client);
    free(payload);
}

static MQTTProperty text_property(enum MQTTPropertyCodes identifier, const char *text) {
    MQTTProperty property = {.identifier = identifier};
    property.value.data.data = (char *)text;
    property.value.data.len = (int)strlen(text);
    return property;
}

static void request(void) {
    MQTTClient server = connected("c-server", (struct options){0});
    MQTTClient client = connected("c-asker", (struct options){0});
    subscribe(server, topic("request"), 1);
    subscribe(client, topic("response"), 1);
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty response = text_property(MQTTPROPERTY_CODE_RESPONSE_TOPIC, topic("response"));
    MQTTProperty correlation = text_property(MQTTPROPERTY_CODE_CORRELATION_DATA, "7");
    MQTTProperties_add(&properties, &response);
    MQTTProperties_add(&properties, &correlation);
    publish(client, topic("request"), "2+2", 3, 1, false, &properties);
    MQTTClient_message *question = expect(server, "2+2", 3, 1, false);
    MQTTProperty *to = MQTTProperties_getProperty(&question->properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
    MQTTProperty *which = MQTTProperties_getProperty(&question->properties, MQTTPROPERTY_CODE_CORRELATION_DATA);
    if (!to || !which) fail("the request came without its properties");
    char name[300];
    snprintf(name, sizeof name, "%.*s", to->value.data.len, to->value.data.data);
    MQTTProperties back = MQTTProperties_initializer;
    MQTTProperties_add(&back, which);
    publish(server, name, "4", 1, 1, false, &back);
    MQTTClient_message *answer = expect(client, "4", 1, 1, false);
    which = MQTTProperties_getProperty(&answer->properties, MQTTPROPERTY_CODE_CORRELATION_DATA);
    if (!which || which->value.data.len != 1 || which->value.data.data[0] != '7') fail("another correlation");
    MQTTClient_freeMessage(&question);
    MQTTClient_freeMessage(&answer);
    MQTTProperties_free(&properties);
    MQTTProperties_free(&back);
    disconnect(client);
    disconnect(server);
}

int main(int count, char **arguments) {
    if (count < 8) fail("usage: %s PROTOCOL PORT CA CERTIFICATE KEY DEVICE PASSWORD", arguments[0]);
    protocol = atoi(arguments[1]);
    snprintf(url, sizeof url, "ssl://localhost:%s", arguments[2]);
    ca = arguments[3];
    certificate = arguments[4];
    key = arguments[5];
    snprintf(prefix, sizeof prefix, "devices/%s/%d", arguments[6], getpid());
    password = arguments[7];
    MQTTClient_init_options init = MQTTClient_init_options_initializer;
    init.do_openssl_init = 1;
    MQTTClient_global_init(&init);
    if (count > 8) die_with_will(arguments[8]);
    round_trip();
    puts("ok round_trip");
    retained();
    puts("ok retained");
    will(arguments[0], arguments);
    puts("ok will");
    session();
    puts("ok session");
    shared();
    puts("ok shared");
    large();
    puts("ok large");
    if (protocol == 5) {
        request();
        puts("ok request");
    }
    return 0;
}
