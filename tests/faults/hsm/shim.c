/* A PKCS#11 module that wraps another one and misbehaves on demand.
 *
 * SHIM_MODULE names the module wrapped, SHIM_RESERVED what it wants as pReserved of C_Initialize (NSS softoken its
 * configuration), SHIM_CONTROL the control file, read at every call: one order a line,
 *
 *   hang CALL            the call never returns
 *   crash CALL           the process dies of SIGSEGV
 *   error CALL HEX       the call returns that CK_RV
 *   latency CALL MS      the call takes that much longer
 *   corrupt N            every Nth signature of a process has one bit flipped
 *   swap HEX1 HEX2       whoever looks for the private key with CKA_ID HEX1 gets that with HEX2
 *   sessions N           at most N processes have a session at the same time
 *   stale -              a process sees the objects that were there when it logged in, and those it made itself
 *   undead -             C_DestroyObject succeeds, and destroys nothing
 *   nofalse -            C_GenerateKeyPair fails where a template has a usage flag that is false
 *   noclass -            C_GenerateKeyPair fails where a template has CKA_CLASS
 *   namedcurves -        C_GenerateKeyPair takes a curve by its name only
 *   extractable -        keys are made extractable, though asked not to be
 *   hide HEX             the mechanism is not in the list
 *   badslots -           C_GetTokenInfo fails for tokens without a label
 *   info FLAGS FREE      C_GetTokenInfo adds these flags (hex), and says so many of 100,000 octets are free
 *
 * CALL is one of initialize, slots, open, login, find, signinit, sign, generate, destroy. Every login is noted as a
 * line in SHIM_CONTROL.logins. The function list is treated as what it is by standard: a version and 68 pointers.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef ulong_t rv_t;
typedef struct { ulong_t type; void *value; ulong_t length; } attribute_t;
typedef struct { unsigned char major, minor; void *call[68]; } list_t;

enum { INITIALIZE = 0, GET_LIST = 3, SLOTS = 4, TOKEN_INFO = 6, MECHANISMS = 7, OPEN = 12, LOGIN = 18, DESTROY = 22,
       GET_ATTRIBUTE = 24, FIND_INIT = 26, FIND = 27, FIND_FINAL = 28, SIGN_INIT = 42, SIGN = 43, GENERATE_PAIR = 59 };
enum { CKA_CLASS = 0, CKA_ID = 0x102, CKA_ENCRYPT = 0x104, CKA_DERIVE = 0x10C,
       CKA_EXTRACTABLE = 0x162, CKA_EC_PARAMS = 0x180, CKO_PRIVATE_KEY = 3,
       CKR_SESSION_COUNT = 0xB1, CKR_GENERAL_ERROR = 5, CKR_ARGUMENTS_BAD = 7, CKR_CURVE_NOT_SUPPORTED = 0x140,
       CKR_TOKEN_NOT_RECOGNIZED = 0xE1, CKR_USER_ALREADY_LOGGED_IN = 0x100, SEEN_MAX = 1024 };

static list_t *real;
static list_t ours;

static FILE *control(const char *suffix, const char *mode) {
    char path[4096];
    const char *base = getenv("SHIM_CONTROL");
    if (!base) return NULL;
    snprintf(path, sizeof path, "%s%s", base, suffix);
    return fopen(path, mode);
}

/* Obey the orders for `call`; returns the CK_RV to return instead of calling the real module, or 0. */
static rv_t obey(const char *call) {
    char line[512], verb[32], name[32], argument[64];
    rv_t result = 0;
    FILE *file = control("", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        argument[0] = 0;
        if (sscanf(line, "%31s %31s %63s", verb, name, argument) < 2 || strcmp(name, call)) continue;
        if (!strcmp(verb, "hang")) for (;;) pause();
        if (!strcmp(verb, "crash")) { signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); }
        if (!strcmp(verb, "latency")) usleep(1000 * strtoul(argument, NULL, 10));
        if (!strcmp(verb, "error")) result = strtoul(argument, NULL, 16);
    }
    fclose(file);
    return result;
}

/* Find the order `verb`; copies its arguments and returns how many there are. */
static int order(const char *verb, char *first, char *second) {
    char line[512], name[32];
    int found = 0;
    FILE *file = control("", "r");
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        int count = sscanf(line, "%31s %127s %127s", name, first, second);
        if (count >= 2 && !strcmp(name, verb)) found = count - 1;
    }
    fclose(file);
    return found;
}

static rv_t initialize(void *arguments) {
    struct { void *mutex[4]; ulong_t flags; void *reserved; } ours_to_give = { { 0 }, 2, getenv("SHIM_RESERVED") };
    rv_t rv = obey("initialize");
    if (ours_to_give.reserved) arguments = &ours_to_give; /* CKF_OS_LOCKING_OK */
    return rv ? rv : ((rv_t (*)(void *))real->call[INITIALIZE])(arguments);
}

static rv_t slots(unsigned char present, ulong_t *list, ulong_t *count) {
    rv_t rv = obey("slots");
    return rv ? rv : ((rv_t (*)(unsigned char, ulong_t *, ulong_t *))real->call[SLOTS])(present, list, count);
}

/* Claim one of the places; the lock is held until the process ends, as its session is. */
static int claim_place(void) {
    char first[128], second[128], path[4096];
    if (!order("sessions", first, second)) return 1;
    for (int place = 0; place < atoi(first); place++) {
        snprintf(path, sizeof path, "%s.place%d", getenv("SHIM_CONTROL"), place);
        int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (descriptor >= 0 && !flock(descriptor, LOCK_EX | LOCK_NB)) return 1;
        if (descriptor >= 0) close(descriptor);
    }
    return 0;
}

static rv_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
    rv_t rv = obey("open");
    if (rv) return rv;
    if (!claim_place()) return CKR_SESSION_COUNT;
    return ((rv_t (*)(ulong_t, ulong_t, void *, void *, ulong_t *))real->call[OPEN])(slot, flags, application, notify, session);
}

/* CKA_IDs of the objects that this process sees under the order `stale`, in hex. */
static char seen[SEEN_MAX][129];
static int seen_count = -1;

static void identity(ulong_t session, ulong_t object, char *text) {
    unsigned char value[64];
    attribute_t id = { CKA_ID, value, sizeof value };
    text[0] = 0;
    if (((rv_t (*)(ulong_t, ulong_t, attribute_t *, ulong_t))real->call[GET_ATTRIBUTE])(session, object, &id, 1)) return;
    for (ulong_t i = 0; i < id.length && i < sizeof value; i++) sprintf(text + 2 * i, "%02x", value[i]);
}

static void note_seen(ulong_t session, ulong_t object) {
    if (seen_count >= 0 && seen_count < SEEN_MAX) identity(session, object, seen[seen_count++]);
}

static int is_seen(ulong_t session, ulong_t object) {
    char id[129];
    identity(session, object, id);
    for (int i = 0; i < seen_count; i++)
        if (!strcmp(seen[i], id)) return 1;
    return seen_count < 0;
}

/* Once in a process: what is there when it logs in. */
static void take_stock(ulong_t session) {
    char first[128], second[128];
    ulong_t object, count;
    if (seen_count >= 0 || !order("stale", first, second)) return;
    seen_count = 0;
    if (((rv_t (*)(ulong_t, attribute_t *, ulong_t))real->call[FIND_INIT])(session, NULL, 0)) return;
    while (!((rv_t (*)(ulong_t, ulong_t *, ulong_t, ulong_t *))real->call[FIND])(session, &object, 1, &count) && count)
        note_seen(session, object);
    ((rv_t (*)(ulong_t))real->call[FIND_FINAL])(session);
}

static rv_t find(ulong_t session, ulong_t *objects, ulong_t most, ulong_t *count) {
    rv_t rv;
    do {
        ulong_t kept = 0;
        rv = ((rv_t (*)(ulong_t, ulong_t *, ulong_t, ulong_t *))real->call[FIND])(session, objects, most, count);
        if (rv || !*count) return rv;
        for (ulong_t i = 0; i < *count; i++)
            if (is_seen(session, objects[i])) objects[kept++] = objects[i];
        *count = kept;
    } while (!*count);
    return rv;
}

static rv_t token_info(ulong_t slot, unsigned char *info) {
    char first[128], second[128];
    rv_t rv = ((rv_t (*)(ulong_t, unsigned char *))real->call[TOKEN_INFO])(slot, info);
    ulong_t *numbers = (ulong_t *)(info + 96); /* flags, 4 of sessions, 2 of the PIN, 2 of public, 2 of private memory */
    if (rv) return rv;
    if (order("badslots", first, second) && info[0] == ' ') return CKR_TOKEN_NOT_RECOGNIZED;
    if (order("info", first, second) == 2) {
        numbers[0] |= strtoul(first, NULL, 16);
        numbers[9] = 100000, numbers[10] = strtoul(second, NULL, 10);
    }
    return rv;
}

static rv_t mechanisms(ulong_t slot, ulong_t *list, ulong_t *count) {
    char first[128], second[128];
    rv_t rv = ((rv_t (*)(ulong_t, ulong_t *, ulong_t *))real->call[MECHANISMS])(slot, list, count);
    if (rv || !list || !order("hide", first, second)) return rv;
    ulong_t hidden = strtoul(first, NULL, 16), kept = 0;
    for (ulong_t i = 0; i < *count; i++)
        if (list[i] != hidden) list[kept++] = list[i];
    for (ulong_t i = kept; i < *count; i++) list[i] = 0x80000000; /* vendor-defined: its length is known already */
    return rv;
}

static rv_t login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t length) {
    FILE *file = control(".logins", "a");
    if (file) { fputs("login\n", file); fclose(file); }
    rv_t rv = obey("login");
    rv_t done = rv && rv != CKR_USER_ALREADY_LOGGED_IN
                    ? 0
                    : ((rv_t (*)(ulong_t, ulong_t, unsigned char *, ulong_t))real->call[LOGIN])(session, user, pin, length);
    if (!done) take_stock(session);
    return rv ? rv : done;
}

static rv_t destroy(ulong_t session, ulong_t object) {
    char first[128], second[128];
    rv_t rv = obey("destroy");
    if (!rv && order("undead", first, second)) return 0;
    return rv ? rv : ((rv_t (*)(ulong_t, ulong_t))real->call[DESTROY])(session, object);
}

static void hex(const attribute_t *attribute, char *text) {
    for (ulong_t i = 0; i < attribute->length && i < 32; i++)
        sprintf(text + 2 * i, "%02x", ((unsigned char *)attribute->value)[i]);
}

static rv_t find_init(ulong_t session, attribute_t *wanted, ulong_t count) {
    attribute_t copy[16];
    unsigned char other[64];
    char first[128], second[128];
    int private = 0;
    rv_t rv = obey("find");
    if (rv) return rv;
    if (count > 16) return CKR_GENERAL_ERROR;
    if (count) memcpy(copy, wanted, count * sizeof *copy);
    for (ulong_t i = 0; i < count; i++)
        if (copy[i].type == CKA_CLASS && *(ulong_t *)copy[i].value == CKO_PRIVATE_KEY) private = 1;
    for (ulong_t i = 0; private && i < count; i++) {
        char id[65] = "";
        if (copy[i].type != CKA_ID) continue;
        hex(&copy[i], id);
        if (order("swap", first, second) == 2 && !strcmp(id, first)) {
            ulong_t octets = strlen(second) / 2;
            for (ulong_t j = 0; j < octets; j++) sscanf(second + 2 * j, "%2hhx", &other[j]);
            copy[i].value = other;
            copy[i].length = octets;
        }
    }
    return ((rv_t (*)(ulong_t, attribute_t *, ulong_t))real->call[FIND_INIT])(session, copy, count);
}

static rv_t sign_init(ulong_t session, void *mechanism, ulong_t key) {
    rv_t rv = obey("signinit");
    return rv ? rv : ((rv_t (*)(ulong_t, void *, ulong_t))real->call[SIGN_INIT])(session, mechanism, key);
}

static rv_t sign(ulong_t session, unsigned char *data, ulong_t length, unsigned char *signature, ulong_t *octets) {
    static unsigned long made;
    char first[128], second[128];
    rv_t rv = signature ? obey("sign") : 0;
    if (rv) return rv;
    rv = ((rv_t (*)(ulong_t, unsigned char *, ulong_t, unsigned char *, ulong_t *))real->call[SIGN])(
        session, data, length, signature, octets);
    if (!rv && signature && order("corrupt", first, second) && ++made % strtoul(first, NULL, 10) == 0)
        signature[*octets / 3] ^= 4;
    return rv;
}

/* The error with which this module refuses a template, or 0. */
static rv_t refusal(const attribute_t *template, ulong_t count) {
    char first[128], second[128];
    for (ulong_t i = 0; i < count; i++) {
        const attribute_t *one = &template[i];
        int usage = one->type >= CKA_ENCRYPT && one->type <= CKA_DERIVE;
        if (usage && one->length == 1 && !*(unsigned char *)one->value && order("nofalse", first, second))
            return CKR_GENERAL_ERROR;
        if (one->type == CKA_CLASS && order("noclass", first, second)) return CKR_ARGUMENTS_BAD;
        if (one->type == CKA_EC_PARAMS && *(unsigned char *)one->value == 6 && order("namedcurves", first, second))
            return CKR_CURVE_NOT_SUPPORTED;
    }
    return 0;
}

static rv_t generate_pair(ulong_t session, void *mechanism, attribute_t *public, ulong_t publics, attribute_t *private,
                          ulong_t privates, ulong_t *public_key, ulong_t *private_key) {
    char first[128], second[128];
    rv_t rv = obey("generate");
    if (!rv) rv = refusal(public, publics);
    if (!rv) rv = refusal(private, privates);
    if (rv) return rv;
    for (ulong_t i = 0; i < privates && order("extractable", first, second); i++)
        if (private[i].type == CKA_EXTRACTABLE) *(unsigned char *)private[i].value = 1;
    rv = ((rv_t (*)(ulong_t, void *, void *, ulong_t, void *, ulong_t, ulong_t *, ulong_t *))real->call[GENERATE_PAIR])(
        session, mechanism, public, publics, private, privates, public_key, private_key);
    if (!rv) note_seen(session, *private_key), note_seen(session, *public_key);
    return rv;
}

rv_t C_GetFunctionList(list_t **list) {
    const char *module = getenv("SHIM_MODULE");
    if (!real) {
        void *handle = dlopen(module ? module : "/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
        rv_t (*get)(list_t **) = handle ? (rv_t (*)(list_t **))dlsym(handle, "C_GetFunctionList") : NULL;
        if (!get || get(&real)) return CKR_GENERAL_ERROR;
        ours = *real;
        ours.major = 2, ours.minor = 40;
        ours.call[INITIALIZE] = initialize;
        ours.call[GET_LIST] = C_GetFunctionList;
        ours.call[SLOTS] = slots;
        ours.call[TOKEN_INFO] = token_info;
        ours.call[MECHANISMS] = mechanisms;
        ours.call[OPEN] = open_session;
        ours.call[LOGIN] = login;
        ours.call[DESTROY] = destroy;
        ours.call[FIND_INIT] = find_init;
        ours.call[FIND] = find;
        ours.call[SIGN_INIT] = sign_init;
        ours.call[SIGN] = sign;
        ours.call[GENERATE_PAIR] = generate_pair;
    }
    *list = &ours;
    return 0;
}
