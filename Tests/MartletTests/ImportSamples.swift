/// Configurations of EMQX as people have them, with what their manuals allow and what stands in none.
enum ImportSamples {
    static let whole = #"""
        ## Redis
        auth.redis.type = single
        auth.redis.server = 10.0.0.5
        auth.redis.pool = 8
        auth.redis.database = 2
        auth.redis.password = pub#lic
        auth.redis.auth_cmd = HMGET mqtt_user:%u password salt
        auth.redis.password_hash = salt,sha256
        auth.redis.super_cmd = HGET mqtt_user:%u is_superuser
        auth.redis.acl_cmd = HGETALL mqtt_acl:%u
        auth.redis.query_timeout = 5s
        allow_anonymous = false
        acl_nomatch = deny
        acl_deny_action = disconnect
        listener.ssl.external = 8883
        listener.ssl.external.keyfile = etc/certs/key.pem
        listener.ssl.external.certfile = etc/certs/cert.pem
        listener.ssl.external.cacertfile = etc/certs/cacert.pem
        listener.ssl.external.verify = verify_peer
        listener.ssl.external.fail_if_no_peer_cert = true
        listener.ssl.external.peer_cert_as_username = cn
        listener.ssl.external.max_connections = 102400
        listener.tcp.internal = 127.0.0.1:11883
        listener.ws.external = 8083
        """#

    static let sentinel = #"""
        auth.redis.type = sentinel
        auth.redis.server = 10.0.0.5:26379, 10.0.0.6:26379
        auth.redis.sentinel = mymaster
        auth.redis.password = "secret"
        auth.redis.auth_cmd = HMGET tls_subject:%d password
        auth.redis.password_hash = plain
        ## auth.redis.super_cmd = x
        auth.redis.ssl = on
        auth.redis.ssl.cacertfile = ca.pem
        """#

    static let comments = #"""
        auth.redis.type = sentinel
        auth.redis.server = 10.0.0.5
        auth.redis.sentinel = mymaster
        auth.redis.auth_cmd = HMGET mqtt_user:%u password   ## user rows
        auth.redis.password_hash = sha256 # hash
        auth.redis.acl_cmd = HGETALL mqtt_acl:%c # acl
        auth.redis.super_cmd =
        listener.ssl.external = 0.0.0.0:8883
        listener.ssl.external.verify = verify_peer
        listener.ssl.external.peer_cert_as_username = crt
        listener.ssl.external.peer_cert_as_clientid = dn
        listener.ssl.external.enable = off
        """#

    static let chain = #"""
        # comment
        include "other.conf"
        authentication = [
          {
            mechanism = password_based, backend = redis, enable = true
            redis_type = single
            server = "127.0.0.1:6379"
            username = "mq"
            password = "p\"w"
            database = 1
            cmd = "HMGET tls_domain:${cert_common_name} password salt"
            password_hash_algorithm { name = plain, salt_position = suffix }
            pool_size = 8
            auto_reconnect = true
            ssl { enable = true, verify = verify_peer, cacertfile = "${EMQX_ETC_DIR}/certs/cacert.pem" }
          }
          {
            mechanism = "password_based"
            backend = "redis"
            redis_type = sentinel
            servers = "10.0.0.1:26379,10.0.0.2"
            sentinel = mymaster
            sentinel_username = s
            sentinel_password = t
            cmd = """HMGET mqtt:${username} password_hash salt is_superuser"""
            password_hash_algorithm.name = pbkdf2
            password_hash_algorithm.mac_fun = sha512
            password_hash_algorithm.iterations = 4096
            password_hash_algorithm.dk_length = 64
          },
          { mechanism = jwt, from = password }
        ]
        authorization {
          no_match = deny
          deny_action = disconnect
          cache { enable = true, ttl = 1m }
          sources = [
            { type = redis, enable = true, redis_type = single, server = "127.0.0.1:6379", cmd = "HGETALL mqtt_acl:${username}" },
            { type = file, path = "${EMQX_ETC_DIR}/acl.conf" }
          ]
        }
        mqtt { peer_cert_as_username = cn, peer_cert_as_clientid = cn, max_packet_size = 1MB }
        listeners.ssl.default {
          bind = "0.0.0.0:8883"
          max_connections = 512000
          ssl_options {
            keyfile = "${EMQX_ETC_DIR}/certs/key.pem"
            certfile = "${EMQX_ETC_DIR}/certs/cert.pem"
            cacertfile = "${EMQX_ETC_DIR}/certs/cacert.pem"
            verify = verify_peer
            fail_if_no_peer_cert = true
          }
        }
        listeners.tcp.default { bind = 1883, enable = false }
        listeners.ws.default.bind = "0.0.0.0:8083"
        node.name = "emqx@127.0.0.1"
        """#

    static let additions = #"""
        "authentication" : [
          {
            backend : "redis"
            "mechanism" : "password_based"
            cmd : "HMGET mqtt:${username} password_hash salt"
            server : 127.0.0.1
            redis_type : single
            password_hash_algorithm : {name : sha256, salt_position : prefix}
            precondition = "str_eq(listener, 'ssl:default')"
          }   // trailing comment
        ]
        authentication += { backend = redis, mechanism = password_based, cmd = "HMGET b:${clientid} password_hash", server = "10.0.0.9:6379", password_hash_algorithm {name = bcrypt, salt_rounds = 10}}
        authorization.no_match = allow
        authorization.sources.1 { type = redis, cmd = "HGETALL a:${username}", server = "127.0.0.1:6379" }
        listeners {
          ssl {
            "my.listener" { bind = ":8883", ssl_options.verify = verify_peer }
            default.enable_authn = quick_deny_anonymous
            default.bind = "[::]:8884"
          }
          tcp.default.bind = "127.0.0.1:1883"
        }
        """#

    static let cluster = #"""
        {
          authentication = {
            mechanism = password_based
            backend = redis
            redis_type = cluster
            servers = ["10.0.0.1:7000", "10.0.0.2"]
            cmd = "HMGET mqtt:${username} password_hash salt"
            password = """se"cret"""
            password_hash_algorithm { name = sha256 }
          }
          authorization {
            sources = [ { type = redis, enable = false, cmd = "x" } { type = redis, cmd = "HGETALL acl:${clientid}", redis_type = cluster, servers = "10.0.0.1:7000,10.0.0.2:6379" } ]
          }
          listeners.ssl.a = ${?x} { bind = 1 }
        }
        """#

    static let numbered = #"""
        authentication.1 { mechanism = password_based, backend = redis, cmd = "HMGET x:${username} password", server = "127.0.0.1:6379", password_hash_algorithm {name = plain, salt_position = disable}, password = ${REDIS_PW} }
        authentication.2 = { mechanism = password_based, backend = built_in_database }
        base = "127.0.0.1"
        authz_redis = { type = redis }
        authorization.sources = [ ${authz_redis} {cmd = "HGETALL acl:${username}", server = ${base}":6379"} ]
        """#

    static let quotes = #"""
        authentication = [{mechanism = password_based, backend = redis, cmd = "HMGET \"k \u0041${username}\" password", server = "127.0.0.1:6379", password_hash_algorithm {name = plain, salt_position = disable}}]
        authorization = { no_match = deny, sources = [{type = redis, cmd = """~
           HGETALL acl:${username}~""", compatibility_mode = v4, server = "127.0.0.1:6379"}] }
        listeners.ssl.default { bind = "0.0.0.0:8883", enable = true, ssl_options { verify = verify_peer } , authentication = [{mechanism = password_based, backend = redis, cmd = "HMGET l:${username} password", server="1.2.3.4:6379"}] }
        """#

    static let identities = #"""
        authentication = [{mechanism = password_based, backend = redis, cmd = "HMGET k:${username} password", server = "h", username = "us@er", password_hash_algorithm {name = plain, salt_position = disable}
          redis_type = sentinel, servers = "s1,s2:26380", sentinel = mm}]
        mqtt { peer_cert_as_username = cn, peer_cert_as_clientid = dn }
        listeners.ssl.default { bind = 8883, ssl_options { verify = verify_peer } }
        """#

    static let disabled = #"""
        authentication = [{mechanism = password_based, backend = redis, cmd = "HMGET k:${username} password_hash salt", server = "h:6379", username = "us@er", password = "x"
         password_hash_algorithm {name = sha256}}]
        authorization { sources = [ { type = redis, enable = false, cmd = "x" }, { type = redis, cmd = "HGETALL acl:${clientid}", server = "other:6379" } ]  }
        listeners.ssl.default { bind = 8883, ssl_options { verify = verify_peer } }
        """#

    static let overrides = #"""
        authentication = [{mechanism = password_based, backend = redis, cmd = "HMGET k:${username} password_hash salt", server = "h:6379", server = "h2:6379"
         password_hash_algorithm {name = pbkdf2, mac_fun = sha256, iterations = 4096}}]
        authentication.0.cmd = x
        authorization.sources = [{type=http}]
        listeners.ssl.default.bind = 8883
        listeners.ssl.default.ssl_options.verify = verify_peer
        listeners.ssl.default.ssl_options { fail_if_no_peer_cert = true }
        listeners.wss.default.bind = 8084
        """#

    static let emqx4 = [Self.whole, Self.sentinel, Self.comments]
    static let emqx5 = [
        Self.chain, Self.additions, Self.cluster, Self.numbered, Self.quotes, Self.identities, Self.disabled,
        Self.overrides,
    ]
}
