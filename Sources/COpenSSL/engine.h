// OpenSSL 3.0's methods from before it had providers, where those cost less: OpenSSL takes the method of an ENGINE that offers it.
// docs/adr/0007-elliptic-curve-keys.md and docs/adr/0024-methods-from-before-providers.md have the reasons and what was measured.
// Included by shim.h, which has the headers of OpenSSL.
#pragma once
#if !defined(OPENSSL_NO_ENGINE) && OPENSSL_VERSION_MAJOR == 3 && OPENSSL_VERSION_MINOR == 0
// Keys on elliptic curves. OpenSSL 3.0 takes each key of a peer's certificate through its decoders, which costs more than the
// signature. With a method of an engine's it reads the key directly.
static inline int martlet_ec_methods(ENGINE *engine, EVP_PKEY_METHOD **method, const int **types, int type) {
    static const int offered[] = {EVP_PKEY_EC};
    (void)engine;
    if (method == NULL) {
        *types = offered;
        return 1;
    }
    *method = type == EVP_PKEY_EC ? (EVP_PKEY_METHOD *)EVP_PKEY_meth_find(type) : NULL;
    return *method != NULL;
}
// OpenSSL's own method makes the curve anew for each key that it reads, which costs more than all else of it. P-256, which
// nearly all devices have, is made once. There is no way to replace one function of a method alone, so its neighbours are here too.
static inline const EC_GROUP *martlet_p256(void) {
    static EC_GROUP *_Atomic made;
    EC_GROUP *group = made;
    if (group != NULL) return group;
    group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_GROUP *other = NULL;
    if (group == NULL || __c11_atomic_compare_exchange_strong(&made, &other, group, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return group;
    EC_GROUP_free(group);
    return other;
}
static inline int martlet_is_p256(int parameter_type, const void *parameter) {
    return parameter_type == V_ASN1_OBJECT && OBJ_obj2nid((const ASN1_OBJECT *)parameter) == NID_X9_62_prime256v1;
}
static inline EC_KEY *martlet_ec_key_of(int parameter_type, const void *parameter) {
    if (parameter_type == V_ASN1_OBJECT) {
        int curve = OBJ_obj2nid((const ASN1_OBJECT *)parameter);
        if (curve != NID_X9_62_prime256v1) return EC_KEY_new_by_curve_name(curve);
        const EC_GROUP *group = martlet_p256();
        EC_KEY *key = group == NULL ? NULL : EC_KEY_new();
        if (key == NULL || EC_KEY_set_group(key, group) == 1) return key;
        EC_KEY_free(key);
        return NULL;
    }
    if (parameter_type != V_ASN1_SEQUENCE) return NULL;
    // A curve that the certificate brings itself: OpenSSL remembers that, and refuses the certificate for it.
    const unsigned char *bytes = ASN1_STRING_get0_data((const ASN1_STRING *)parameter);
    return d2i_ECParameters(NULL, &bytes, ASN1_STRING_length((const ASN1_STRING *)parameter));
}
// Keys on P-256 that the certificates of many peers show, those of their authorities: one stands for all of them. They are added by
// one thread and stay.
struct martlet_shared_key {
    unsigned char point[65];
    EC_KEY *key;
};
enum { martlet_shared_keys_max = 32 };
static inline struct martlet_shared_key *martlet_shared_keys(int _Atomic **count) {
    static struct martlet_shared_key keys[martlet_shared_keys_max];
    static int _Atomic used;
    *count = &used;
    return keys;
}
static inline EC_KEY *martlet_shared_ec_key(const unsigned char *point, int count, int parameter_type, const void *parameter) {
    int _Atomic *used = NULL;
    const struct martlet_shared_key *keys = martlet_shared_keys(&used);
    if (count != sizeof keys->point || !martlet_is_p256(parameter_type, parameter)) return NULL;
    for (int place = 0; place < *used; place++)
        if (memcmp(keys[place].point, point, sizeof keys->point) == 0) return keys[place].key;
    return NULL;
}
/// 1: certificates with the same key as this one share it from now on.
static inline int martlet_share_ec_key(X509 *certificate) {
    const unsigned char *bytes = NULL;
    int count = 0, parameter_type = 0;
    X509_ALGOR *algorithm = NULL;
    const void *parameter = NULL;
    if (X509_PUBKEY_get0_param(NULL, &bytes, &count, &algorithm, X509_get_X509_PUBKEY(certificate)) != 1) return 0;
    X509_ALGOR_get0(NULL, &parameter_type, &parameter, algorithm);
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    EC_KEY *inner = key == NULL ? NULL : (EC_KEY *)EVP_PKEY_get0_EC_KEY(key);
    int _Atomic *used = NULL;
    struct martlet_shared_key *keys = martlet_shared_keys(&used);
    if (inner == NULL || !martlet_is_p256(parameter_type, parameter) || count != sizeof keys->point) return 0;
    if (martlet_shared_ec_key(bytes, count, parameter_type, parameter) != NULL) return 1;
    if (*used == martlet_shared_keys_max || EC_KEY_up_ref(inner) != 1) return 0;
    memcpy(keys[*used].point, bytes, sizeof keys->point);
    keys[*used].key = inner;
    *used += 1;
    return 1;
}
static inline int martlet_ec_public_decode(EVP_PKEY *key, const X509_PUBKEY *encoded) {
    const unsigned char *bytes = NULL;
    int count = 0, parameter_type = 0;
    X509_ALGOR *algorithm = NULL;
    const void *parameter = NULL;
    if (X509_PUBKEY_get0_param(NULL, &bytes, &count, &algorithm, encoded) != 1) return 0;
    X509_ALGOR_get0(NULL, &parameter_type, &parameter, algorithm);
    EC_KEY *shared = martlet_shared_ec_key(bytes, count, parameter_type, parameter);
    if (shared != NULL) {
        if (EC_KEY_up_ref(shared) != 1) return 0;
        if (EVP_PKEY_assign_EC_KEY(key, shared) == 1) return 1;
        EC_KEY_free(shared);
        return 0;
    }
    EC_KEY *inner = martlet_ec_key_of(parameter_type, parameter);
    // Checks that the point is on the curve.
    if (inner != NULL && o2i_ECPublicKey(&inner, &bytes, count) != NULL && EVP_PKEY_assign_EC_KEY(key, inner) == 1) return 1;
    EC_KEY_free(inner);
    return 0;
}
static inline int martlet_ec_public_encode(X509_PUBKEY *target, const EVP_PKEY *key) {
    const EC_KEY *inner = EVP_PKEY_get0_EC_KEY(key);
    const EC_GROUP *group = inner == NULL ? NULL : EC_KEY_get0_group(inner);
    int curve = group == NULL ? 0 : EC_GROUP_get_curve_name(group);
    unsigned char *bytes = NULL;
    // Keys of ours, which are all on named curves.
    int count = curve == 0 ? 0 : i2o_ECPublicKey(inner, &bytes);
    if (count <= 0) return 0;
    if (X509_PUBKEY_set0_param(target, OBJ_nid2obj(EVP_PKEY_EC), V_ASN1_OBJECT, OBJ_nid2obj(curve), bytes, count) == 1)
        return 1;
    OPENSSL_free(bytes);
    return 0;
}
static inline int martlet_ec_public_compare(const EVP_PKEY *left, const EVP_PKEY *right) {
    const EC_KEY *a = EVP_PKEY_get0_EC_KEY(left), *b = EVP_PKEY_get0_EC_KEY(right);
    if (a == NULL || b == NULL) return -2;
    const EC_GROUP *group = EC_KEY_get0_group(b);
    const EC_POINT *point = EC_KEY_get0_public_key(a), *other = EC_KEY_get0_public_key(b);
    if (group == NULL || point == NULL || other == NULL) return -2;
    int result = EC_POINT_cmp(group, point, other, NULL);
    return result == 0 ? 1 : result == 1 ? 0 : -2;
}
static inline int martlet_ec_size(const EVP_PKEY *key) { return ECDSA_size(EVP_PKEY_get0_EC_KEY(key)); }
static inline int martlet_ec_bits(const EVP_PKEY *key) {
    return EC_GROUP_order_bits(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
}
static inline EVP_PKEY_ASN1_METHOD *martlet_new_ec_asn1_method(void) {
    const EVP_PKEY_ASN1_METHOD *own = EVP_PKEY_asn1_find(NULL, EVP_PKEY_EC);
    EVP_PKEY_ASN1_METHOD *method = own == NULL ? NULL : EVP_PKEY_asn1_new(EVP_PKEY_EC, 0, "EC", "elliptic curves");
    if (method == NULL) return NULL;
    EVP_PKEY_asn1_copy(method, own);
    EVP_PKEY_asn1_set_public(method, martlet_ec_public_decode, martlet_ec_public_encode, martlet_ec_public_compare, NULL,
                             martlet_ec_size, martlet_ec_bits);
    return method;
}
static inline int martlet_ec_asn1_methods(ENGINE *engine, EVP_PKEY_ASN1_METHOD **method, const int **types, int type) {
    static const int offered[] = {EVP_PKEY_EC};
    // Made when the engine is registered, before there is another thread.
    static EVP_PKEY_ASN1_METHOD *made;
    (void)engine;
    if (made == NULL) made = martlet_new_ec_asn1_method();
    if (method == NULL) {
        *types = offered;
        return made == NULL ? 0 : 1;
    }
    *method = type == EVP_PKEY_EC ? made : NULL;
    return *method != NULL;
}
/// The key in the form that the engine's method works with; takes `key` over. Keys of other kinds stay as they are, and so does
/// one that cannot be taken out of where it is.
static inline EVP_PKEY *martlet_ec_key_for_engine(EVP_PKEY *key) {
    int is_on_curve = key != NULL && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC;
    EC_KEY *inner = is_on_curve ? EVP_PKEY_get1_EC_KEY(key) : NULL;
    if (inner == NULL) return key;
    EVP_PKEY *made = EVP_PKEY_new();
    if (made == NULL || EVP_PKEY_assign_EC_KEY(made, inner) != 1) {
        EVP_PKEY_free(made);
        EC_KEY_free(inner);
        return key;
    }
    EVP_PKEY_free(key);
    return made;
}
// Key shares on X25519, which nearly all clients offer. A key of a provider's is fetched by its name and asked for all its names, its own
// and the peer's: a twentieth of a resumed handshake. OpenSSL's method from before providers is taken where an application adds one.
static inline int martlet_x25519_make_empty(EVP_PKEY_CTX *context, EVP_PKEY *key) {
    (void)context;
    return EVP_PKEY_set_type(key, EVP_PKEY_X25519);
}
/// Agrees on a secret in the steps in which libssl does: whether the method goes with this release of OpenSSL.
static inline int martlet_x25519_works(void) {
    EVP_PKEY *key = NULL, *peer = NULL;
    unsigned char *point = NULL, secret[32];
    size_t length = sizeof secret, count = 0;
    EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
    EVP_PKEY_CTX *empty = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
    EVP_PKEY_CTX *agreeing = NULL;
    int works = making != NULL && EVP_PKEY_keygen_init(making) > 0 && EVP_PKEY_CTX_set_group_name(making, "X25519") > 0 &&
                EVP_PKEY_keygen(making, &key) > 0 && empty != NULL && EVP_PKEY_paramgen_init(empty) > 0 &&
                EVP_PKEY_CTX_set_group_name(empty, "X25519") > 0 && EVP_PKEY_paramgen(empty, &peer) > 0 &&
                (count = EVP_PKEY_get1_encoded_public_key(key, &point)) > 0 &&
                EVP_PKEY_set1_encoded_public_key(peer, point, count) > 0 &&
                (agreeing = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL)) != NULL && EVP_PKEY_derive_init(agreeing) > 0 &&
                EVP_PKEY_derive_set_peer(agreeing, peer) > 0 && EVP_PKEY_derive(agreeing, secret, &length) > 0;
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_free(point);
    EVP_PKEY_CTX_free(agreeing);
    EVP_PKEY_CTX_free(empty);
    EVP_PKEY_CTX_free(making);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
    return works;
}
static inline int martlet_add_x25519_method(void) {
    const EVP_PKEY_METHOD *own = EVP_PKEY_meth_find(EVP_PKEY_X25519);
    EVP_PKEY_METHOD *method = own == NULL ? NULL : EVP_PKEY_meth_new(EVP_PKEY_X25519, 0);
    if (method == NULL) return 0;
    EVP_PKEY_meth_copy(method, own);
    // libssl reads the peer's share into a key of the same parameters, for which the old method had no function.
    EVP_PKEY_meth_set_paramgen(method, NULL, martlet_x25519_make_empty);
    if (EVP_PKEY_meth_add0(method) != 1) {
        EVP_PKEY_meth_free(method);
        return 0;
    }
    if (martlet_x25519_works()) return 1;
    EVP_PKEY_meth_remove(method);
    EVP_PKEY_meth_free(method);
    return 0;
}
// Ciphers of records. A provider is handed each of a record's values as a list of named parameters.
static inline int martlet_record_ciphers(ENGINE *engine, const EVP_CIPHER **cipher, const int **types, int type) {
    static const int offered[] = {NID_aes_128_gcm, NID_aes_256_gcm, NID_chacha20_poly1305};
    (void)engine;
    if (cipher == NULL) {
        *types = offered;
        return sizeof offered / sizeof *offered;
    }
    switch (type) {
    case NID_aes_128_gcm: *cipher = EVP_aes_128_gcm(); break;
    case NID_aes_256_gcm: *cipher = EVP_aes_256_gcm(); break;
    case NID_chacha20_poly1305: *cipher = EVP_chacha20_poly1305(); break;
    default: *cipher = NULL;
    }
    return *cipher != NULL;
}
/// 1: what is above is taken from now on, in the whole process. 0 for another release of OpenSSL, which may be another one than was
/// compiled for, and where FIPS 140 is asked for: its provider's methods are the ones that were validated.
static inline int martlet_use_methods_before_providers(void) {
    if (OPENSSL_version_major() != 3 || OPENSSL_version_minor() != 0 || EVP_default_properties_is_fips_enabled(NULL)) return 0;
    ENGINE *engine = ENGINE_new();
    if (engine == NULL) return 0;
    // Registering takes no reference: the engine lives as long as the process.
    if (ENGINE_set_id(engine, "martlet") && ENGINE_set_name(engine, "OpenSSL's own methods") &&
        ENGINE_set_pkey_meths(engine, martlet_ec_methods) && ENGINE_set_pkey_asn1_meths(engine, martlet_ec_asn1_methods) &&
        ENGINE_set_ciphers(engine, martlet_record_ciphers) && ENGINE_register_pkey_meths(engine) &&
        ENGINE_register_pkey_asn1_meths(engine) && ENGINE_register_ciphers(engine))
        return martlet_add_x25519_method();
    ENGINE_free(engine);
    return 0;
}
#else
static inline int martlet_use_methods_before_providers(void) { return 0; }
static inline EVP_PKEY *martlet_ec_key_for_engine(EVP_PKEY *key) { return key; }
static inline int martlet_share_ec_key(X509 *certificate) {
    (void)certificate;
    return 0;
}
#endif
