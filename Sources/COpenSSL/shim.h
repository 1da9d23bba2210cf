// OpenSSL's headers, and functions for those of its macros that Swift cannot import.
#pragma once
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "engine.h"

// Errors. An empty queue, the usual case, costs one look; ERR_clear_error() would write all sixteen slots.
static inline void martlet_ssl_clear_errors(void) {
    if (ERR_peek_error() != 0) ERR_clear_error();
}
static inline int martlet_ssl_error_reason(unsigned long error) { return ERR_GET_REASON(error); }
static inline int martlet_ssl_error_library(unsigned long error) { return ERR_GET_LIB(error); }

// Contexts.
static inline void martlet_ssl_context_set_modes(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // Send the chain in the certificate file, not one made up from the authorities trusted for the other direction.
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(context, 1);
}
static inline void martlet_ssl_context_set_common_options(SSL_CTX *context) {
    // MQTT and Redis frame what they send, so an end without close_notify truncates nothing unnoticed; it is a plain end.
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
}
static inline void martlet_ssl_context_set_server_options(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
}
/// Whether the context has OpenSSL's own order of TLS 1.3 cipher suites, with none set by the system's openssl.cnf.
static inline int martlet_ssl_context_has_default_suites(SSL_CTX *context) {
    char names[512] = "";
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        if (SSL_CIPHER_get_protocol_id(cipher) >> 8 != 0x13) continue;
        size_t length = strlen(names);
        snprintf(names + length, sizeof(names) - length, "%s%s", length ? ":" : "", SSL_CIPHER_get_name(cipher));
    }
    return strcmp(names, OSSL_default_ciphersuites()) == 0;
}
/// No resumption in TLS 1.2 (neither ticket nor session id) nor in 1.3.
static inline void martlet_ssl_context_disable_resumption(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}
static inline int martlet_ssl_context_set_versions(SSL_CTX *context, int minimum, int maximum) {
    return SSL_CTX_set_min_proto_version(context, minimum) && SSL_CTX_set_max_proto_version(context, maximum);
}
static inline int martlet_ssl_context_set_groups(SSL_CTX *context, const char *groups) {
    return SSL_CTX_set1_groups_list(context, groups) == 1;
}
/// The context takes a reference of its own.
static inline int martlet_ssl_context_add_chain_certificate(SSL_CTX *context, X509 *certificate) {
    return SSL_CTX_add1_chain_cert(context, certificate) == 1;
}
static inline int martlet_ssl_set_server_name(SSL *ssl, const char *name) {
    return SSL_set_tlsext_host_name(ssl, name) == 1;
}
/// Joins a client and a server in memory.
static inline int martlet_ssl_connect(SSL *client, SSL *server) {
    BIO *near = NULL, *far = NULL;
    if (BIO_new_bio_pair(&near, 1 << 16, &far, 1 << 16) != 1) return 0;
    SSL_set_bio(client, near, near);
    SSL_set_bio(server, far, far);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    return 1;
}
static inline int martlet_ssl_set_maximum(SSL *ssl, int version) { return SSL_set_max_proto_version(ssl, version) == 1; }
static inline int martlet_ssl_set_groups(SSL *ssl, const char *groups) { return SSL_set1_groups_list(ssl, groups) == 1; }
static inline int martlet_ssl_new_index(void) { return SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL); }

static inline void martlet_openssl_free(void *pointer) { OPENSSL_free(pointer); }

// Session tickets.
/// Tickets that any process with the same keys can open: nothing is kept here.
static inline void martlet_ssl_context_enable_tickets(SSL_CTX *context, long lifetime_seconds) {
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, lifetime_seconds);
}
static inline int martlet_ssl_context_new_index(void) { return SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL); }
/// AES-256-CBC and HMAC-SHA-256, as RFC 5077 section 4 recommends; both keys have 32 bytes.
static inline int martlet_ticket_cipher_init(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const unsigned char *cipher_key,
                                             const unsigned char *mac_key, const unsigned char *iv, int encrypts) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)mac_key, 32),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, cipher_key, iv, encrypts) == 1;
}
static inline int martlet_x509_chain_count(const STACK_OF(X509) *chain) { return sk_X509_num(chain); }
static inline X509 *martlet_x509_chain_value(const STACK_OF(X509) *chain, int index) {
    return sk_X509_value(chain, index);
}

/// The object stays, without a key.
static inline void martlet_empty_key(EVP_PKEY *key) { EVP_PKEY_set_type(key, EVP_PKEY_get_base_id(key)); }
/// Server, after the handshake: frees what only the handshake needed and OpenSSL keeps as long as the connection. The certificates that the
/// client sent beside its own: sessions in tickets do not have them, and the verified chain has its own references. The decoded key of
/// its own, whose encoding stays. Both sides' keys of the key exchange: what is gone can't be stolen either.
static inline void martlet_ssl_forget_handshake(SSL *ssl) {
    STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
    while (sk_X509_num(sent) > 0) X509_free(sk_X509_pop(sent));
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    EVP_PKEY *key = certificate == NULL ? NULL : X509_get0_pubkey(certificate);
    if (key != NULL) martlet_empty_key(key);
    if (SSL_get_tmp_key(ssl, &key) == 1) {
        martlet_empty_key(key);
        EVP_PKEY_free(key);
    }
    if (SSL_get_peer_tmp_key(ssl, &key) == 1) {
        martlet_empty_key(key);
        EVP_PKEY_free(key);
    }
}

static inline STACK_OF(X509) *martlet_x509_stack_new(void) { return sk_X509_new_null(); }
static inline void martlet_x509_stack_free(STACK_OF(X509) *stack) { sk_X509_free(stack); }
/// With the certificates' references.
static inline void martlet_x509_stack_free_all(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }
/// The certificate must live as long as the stack.
static inline int martlet_x509_stack_add(STACK_OF(X509) *stack, X509 *certificate) {
    return sk_X509_push(stack, certificate);
}

// Revocation lists.
static inline X509_CRL *martlet_crl_from_der(const unsigned char *bytes, long count) {
    const unsigned char *position = bytes;
    X509_CRL *crl = d2i_X509_CRL(NULL, &position, count);
    if (crl != NULL && position != bytes + count) {
        X509_CRL_free(crl);
        return NULL;
    }
    return crl;
}
static inline int martlet_crl_entry_count(X509_CRL *crl) {
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    return entries == NULL ? 0 : sk_X509_REVOKED_num(entries);
}
static inline const ASN1_INTEGER *martlet_crl_entry_serial(X509_CRL *crl, int index) {
    return X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), index));
}
/// An extension of this kind is there.
static inline int martlet_crl_has_extension(const X509_CRL *crl, int nid) {
    return X509_CRL_get_ext_by_NID(crl, nid, -1) >= 0;
}
/// An extension that must be understood, and is none of those that we do understand.
static inline int martlet_crl_has_unknown_critical_extension(const X509_CRL *crl) {
    int index = -1;
    while ((index = X509_CRL_get_ext_by_critical(crl, 1, index)) >= 0) {
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(X509_CRL_get_ext(crl, index)));
        if (nid != NID_issuing_distribution_point && nid != NID_authority_key_identifier && nid != NID_crl_number) return 1;
    }
    return 0;
}
/// It covers certificates of other issuers, or only some reasons: more than we understand.
static inline int martlet_crl_is_indirect_or_partial(const X509_CRL *crl) {
    ISSUING_DIST_POINT *point = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, NULL, NULL);
    if (point == NULL) return 0;
    int result = point->indirectCRL > 0 || point->onlysomereasons != NULL;
    ISSUING_DIST_POINT_free(point);
    return result;
}
/// Whether two distribution points of one issuer share a name. A name that is relative to the issuer's is made whole first.
static inline int martlet_points_share_name(DIST_POINT_NAME *left, DIST_POINT_NAME *right, const X509_NAME *issuer) {
    if (left == NULL || right == NULL) return 0;
    if (left->type == 1 && right->type != 1) return martlet_points_share_name(right, left, issuer);
    if (right->type == 1 && right->dpname == NULL && DIST_POINT_set_dpname(right, issuer) != 1) return 0;
    if (left->type == 1) {
        if (left->dpname == NULL && DIST_POINT_set_dpname(left, issuer) != 1) return 0;
        return X509_NAME_cmp(left->dpname, right->dpname) == 0;
    }
    GENERAL_NAMES *names = left->name.fullname;
    for (int l = 0; l < sk_GENERAL_NAME_num(names); l++) {
        GENERAL_NAME *name = sk_GENERAL_NAME_value(names, l);
        if (right->type == 1) {
            if (name->type == GEN_DIRNAME && X509_NAME_cmp(name->d.directoryName, right->dpname) == 0) return 1;
            continue;
        }
        GENERAL_NAMES *others = right->name.fullname;
        for (int r = 0; r < sk_GENERAL_NAME_num(others); r++)
            if (GENERAL_NAME_cmp(name, sk_GENERAL_NAME_value(others, r)) == 0) return 1;
    }
    return 0;
}
/// Whether a list for this point has the certificate. One that names no points is, by RFC 5280 section 6.3.3, in the list for its
/// issuer's name.
static inline int martlet_point_has_certificate(DIST_POINT_NAME *point, const X509 *certificate) {
    X509_NAME *issuer = X509_get_issuer_name(certificate);
    CRL_DIST_POINTS *points = X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL, NULL);
    int found = 0;
    for (int p = 0; points != NULL && !found && p < sk_DIST_POINT_num(points); p++)
        found = martlet_points_share_name(point, sk_DIST_POINT_value(points, p)->distpoint, issuer);
    if (points == NULL && point->type == 0) {
        for (int n = 0; !found && n < sk_GENERAL_NAME_num(point->name.fullname); n++) {
            GENERAL_NAME *name = sk_GENERAL_NAME_value(point->name.fullname, n);
            found = name->type == GEN_DIRNAME && X509_NAME_cmp(name->d.directoryName, issuer) == 0;
        }
    }
    CRL_DIST_POINTS_free(points);
    return found;
}
/// Whether a list with this value of the extension IssuingDistributionPoint speaks of the certificate (RFC 5280, section 6.3.3, b).
static inline int martlet_crl_scope_has_certificate(const unsigned char *scope, long count, X509 *certificate) {
    const unsigned char *position = scope;
    ISSUING_DIST_POINT *point = d2i_ISSUING_DIST_POINT(NULL, &position, count);
    if (point == NULL) return 0;
    int is_authority = (X509_get_extension_flags(certificate) & EXFLAG_CA) != 0;
    int result = point->onlyattr <= 0 && (is_authority ? point->onlyuser : point->onlyCA) <= 0 &&
                 (point->distpoint == NULL || martlet_point_has_certificate(point->distpoint, certificate));
    ISSUING_DIST_POINT_free(point);
    return result;
}
/// The URLs of a certificate's CRL distribution points, one call each, and the number of the point that it is of; NULL at the end. To be
/// freed with martlet_openssl_free.
static inline char *martlet_certificate_crl_url(X509 *certificate, int wanted, int *place) {
    CRL_DIST_POINTS *points = X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL, NULL);
    char *url = NULL;
    for (int p = 0; points != NULL && url == NULL && p < sk_DIST_POINT_num(points); p++) {
        DIST_POINT *point = sk_DIST_POINT_value(points, p);
        if (point->distpoint == NULL || point->distpoint->type != 0) continue;
        GENERAL_NAMES *names = point->distpoint->name.fullname;
        for (int n = 0; url == NULL && n < sk_GENERAL_NAME_num(names); n++) {
            GENERAL_NAME *name = sk_GENERAL_NAME_value(names, n);
            if (name->type != GEN_URI || wanted-- > 0) continue;
            const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;
            *place = p;
            url = OPENSSL_strndup((const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
        }
    }
    CRL_DIST_POINTS_free(points);
    return url;
}

// Names and stacks.
static inline int martlet_general_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
static inline GENERAL_NAME *martlet_general_names_value(const GENERAL_NAMES *names, int index) {
    return sk_GENERAL_NAME_value(names, index);
}
static inline GENERAL_NAMES *martlet_general_names_new(void) { return sk_GENERAL_NAME_new_null(); }
static inline void martlet_general_names_free(GENERAL_NAMES *names) {
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}
/// Adds a copy of the bytes; `type` is GEN_DNS, GEN_IPADD, GEN_EMAIL or GEN_URI.
static inline int martlet_general_names_add(GENERAL_NAMES *names, int type, const void *bytes, int count) {
    ASN1_STRING *value = ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (value == NULL || name == NULL || !ASN1_STRING_set(value, bytes, count)) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return 0;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0) return 1;
    GENERAL_NAME_free(name);
    return 0;
}
/// The DER encoding of any ASN.1 string; as i2d_ASN1_TYPE.
static inline int martlet_asn1_string_to_der(const ASN1_STRING *string, unsigned char **output) {
    ASN1_TYPE type = {.type = ASN1_STRING_type(string), .value = {.asn1_string = (ASN1_STRING *)string}};
    return i2d_ASN1_TYPE(&type, output);
}

// Issuance.
static inline EVP_PKEY *martlet_new_p256_key(void) { return martlet_ec_key_for_engine(EVP_EC_gen("prime256v1")); }
/// Adds the extension `nid` with a value in the syntax of x509v3_config(5).
static inline int martlet_x509_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (extension == NULL) return 0;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}
// Output.
static inline long martlet_bio_output_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    // Nothing waits in it that a flush could move.
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}
/// A method that only writes; kept for ever.
static inline BIO_METHOD *martlet_bio_output_method(int (*write)(BIO *, const char *, int)) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "martlet");
    if (method == NULL) return NULL;
    if (BIO_meth_set_write(method, write) == 1 && BIO_meth_set_ctrl(method, martlet_bio_output_control) == 1) return method;
    BIO_meth_free(method);
    return NULL;
}
static inline void martlet_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline void martlet_bio_retry_write(BIO *bio) { BIO_set_retry_write(bio); }
static inline long martlet_bio_bytes(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }
