// Intel AMX on a CPU that has none: preloaded into llama-server (LD_PRELOAD), this does what the
// tile instructions do whenever one of them raises SIGILL. Only those are known that the compiled
// kernels contain; any other illegal instruction ends the process as ever, and so does one that a
// CPU with AMX would refuse.
//
// Encodings and semantics: Intel 64 and IA-32 Architectures Software Developer's Manual, volume
// 2, LDTILECFG, TILELOADD, TILESTORED, TILEZERO and TDPBSSD.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };
enum { NO_PREFIX, PREFIX_66, PREFIX_F3, PREFIX_F2 };  // as VEX writes them
enum { CONFIGURATION_OR_ZERO = 0x49, LOAD_OR_STORE = 0x4b, DOT_PRODUCT = 0x5e };

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} configuration;

// The oldest version of glibc's functions on this CPU's family; newer ones have it too.
static const char GLIBC[] = "GLIBC_2.2.5";

static _Thread_local configuration config;
static _Thread_local int8_t tiles[TILES][ROWS][ROW_BYTES];

// The general registers, in the order in which instructions number them.
static const int REGISTERS[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

// What the bytes of an instruction say: three of VEX, the opcode, ModRM, and, where an operand is
// in memory, perhaps SIB and a displacement.
typedef struct {
    int opcode, prefix, in_memory;
    int reg, rm, vvvv;     // numbers of registers
    int64_t base, stride;  // bytes: of the operand in memory, and from each of its rows to the next
    int length;            // bytes of the instruction
} instruction;

static instruction decode(const uint8_t *at, const greg_t *registers) {
    instruction it = {0};
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84) != 0) {
        return it;  // not of map 0F38 with W0 and 128 bits
    }
    const int high_reg = at[1] & 0x80 ? 0 : 8;
    const int high_index = at[1] & 0x40 ? 0 : 8;
    const int high_rm = at[1] & 0x20 ? 0 : 8;
    const int mod = at[4] >> 6;
    it.opcode = at[3];
    it.prefix = at[2] & 3;
    it.vvvv = ~at[2] >> 3 & 15;
    it.reg = (at[4] >> 3 & 7) + high_reg;
    it.rm = (at[4] & 7) + high_rm;
    it.in_memory = mod != 3;
    it.length = 5;
    if (!it.in_memory) {
        return it;
    }
    int base = it.rm;
    if ((at[4] & 7) == 4) {
        const uint8_t sib = at[it.length++];
        const int index = (sib >> 3 & 7) + high_index;
        base = (sib & 7) + high_rm;
        // 4 stands for no index.
        it.stride = index == 4 ? 0 : registers[REGISTERS[index]] << (sib >> 6);
    }
    if (mod == 0 && (base & 7) == 5) {
        // No base, or the address of the next instruction: the displacement follows.
        int32_t displacement;
        memcpy(&displacement, at + it.length, 4);
        it.length += 4;
        const int relative = (at[4] & 7) == 5;
        it.base = displacement + (relative ? (int64_t) (uintptr_t) at + it.length : 0);
        return it;
    }
    it.base = registers[REGISTERS[base]];
    if (mod == 1) {
        it.base += (int8_t) at[it.length];
        it.length += 1;
    } else if (mod == 2) {
        int32_t displacement;
        memcpy(&displacement, at + it.length, 4);
        it.base += displacement;
        it.length += 4;
    }
    return it;
}

static void load(int tile, int64_t base, int64_t stride) {
    memset(tiles[tile], 0, sizeof tiles[tile]);
    for (int row = 0; row < config.rows[tile]; row++) {
        memcpy(tiles[tile][row], (void *) (base + row * stride), config.column_bytes[tile]);
    }
}

static void store(int tile, int64_t base, int64_t stride) {
    for (int row = 0; row < config.rows[tile]; row++) {
        memcpy((void *) (base + row * stride), tiles[tile][row], config.column_bytes[tile]);
    }
}

// Each number of `sums` grows by the products of four signed bytes of a row of `left` with four of
// a column of `right`, over all fours of that row.
static void dot_product(int sums, int left, int right) {
    const int columns = config.column_bytes[sums] / 4, fours = config.column_bytes[left] / 4;
    for (int row = 0; row < config.rows[sums]; row++) {
        int32_t line[ROW_BYTES / 4] = {0};
        memcpy(line, tiles[sums][row], config.column_bytes[sums]);
        for (int four = 0; four < fours; four++) {
            const int8_t *a = &tiles[left][row][4 * four];
            for (int column = 0; column < columns; column++) {
                const int8_t *b = &tiles[right][four][4 * column];
                line[column] += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
            }
        }
        memcpy(tiles[sums][row], line, sizeof line);
    }
}

static int fit(int sums, int left, int right) {
    return sums != left && sums != right && left != right &&
           config.rows[sums] == config.rows[left] &&
           config.column_bytes[sums] == config.column_bytes[right] &&
           config.column_bytes[left] == 4 * config.rows[right];
}

// Whether it is one of ours, and one that a CPU with AMX would not refuse as well: the tiles must
// have been configured, and their shapes fit.
static int valid(const instruction *it) {
    if (it->opcode == CONFIGURATION_OR_ZERO && it->prefix == NO_PREFIX) {
        return it->in_memory && it->reg == 0;
    }
    if (config.palette != 1 || it->reg >= TILES) {
        return 0;
    }
    switch (it->opcode) {
        case CONFIGURATION_OR_ZERO:
            return it->prefix == PREFIX_F2 && !it->in_memory;
        case LOAD_OR_STORE:
            return (it->prefix == PREFIX_F2 || it->prefix == PREFIX_F3) && it->in_memory;
        case DOT_PRODUCT:
            return it->prefix == PREFIX_F2 && !it->in_memory && it->rm < TILES &&
                   it->vvvv < TILES && fit(it->reg, it->rm, it->vvvv);
        default:
            return 0;
    }
}

static void say_once(void) {
    static const char TEXT[] = "amx: tile instructions are emulated\n";
    static int said;
    if (!__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
        (void) !write(STDERR_FILENO, TEXT, sizeof TEXT - 1);
    }
}

static void handle(int number, siginfo_t *info, void *context) {
    (void) info;
    greg_t *registers = ((ucontext_t *) context)->uc_mcontext.gregs;
    const instruction it = decode((const uint8_t *) registers[REG_RIP], registers);
    if (!valid(&it)) {
        signal(number, SIG_DFL);  // raised again, it ends the process
        return;
    }
    if (it.opcode == DOT_PRODUCT) {
        say_once();
        dot_product(it.reg, it.rm, it.vvvv);
    } else if (it.opcode == LOAD_OR_STORE && it.prefix == PREFIX_F2) {
        load(it.reg, it.base, it.stride);
    } else if (it.opcode == LOAD_OR_STORE) {
        store(it.reg, it.base, it.stride);
    } else if (it.in_memory) {
        memcpy(&config, (void *) it.base, sizeof config);
        memset(tiles, 0, sizeof tiles);
    } else {
        memset(tiles[it.reg], 0, sizeof tiles[it.reg]);
    }
    registers[REG_RIP] += it.length;
}

__attribute__((constructor)) static void catch_illegal_instructions(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}

// The kernel lets a process use tiles only where there are some (ARCH_REQ_XCOMP_PERM, see
// docs.kernel.org/arch/x86/xstate.html); ggml-cpu/amx/amx.cpp asks it.
long syscall(long number, ...) {
    enum { ALLOW_STATE = 0x1023 };
    long given[6];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        given[i] = __builtin_va_arg(arguments, long);
    }
    __builtin_va_end(arguments);
    if (number == SYS_arch_prctl && given[0] == ALLOW_STATE) {
        return 0;
    }
    static long (*real)(long, ...);
    if (!real) {
        *(void **) &real = dlvsym(RTLD_NEXT, "syscall", GLIBC);
    }
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

// How much ggml wants a variant, which is nothing where CPUID has not all that it needs.
static int score(void) { return 1; }

void *dlsym(void *library, const char *name) {
    static void *(*real)(void *, const char *);
    if (!real) {
        *(void **) &real = dlvsym(RTLD_NEXT, "dlsym", GLIBC);
    }
    return strcmp(name, "ggml_backend_score") == 0 ? (void *) score : real(library, name);
}
