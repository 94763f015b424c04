/* sim.c: chance, the trace, clocks, and what a process owns; a killed process is one that is never run again */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <ucontext.h>

#include "lib/base/log.h"
#include "tests/fault/simulation/process.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define LARGE (64u << 10)
#define KEPT 32
#define STACK_BYTES (512u << 10)
#define START_US INT64_C(1790000000000000)
#define FNV INT64_C(1099511628211)

/* Memory of a process, so that all of it goes when the process does. */
struct block {
    struct block *next, *before;
    size_t bytes;
    size_t unused; /* what follows is aligned as malloc's is */
};
struct process {
    ucontext_t context; /* where it begins */
    void *at[5];        /* where it goes on; __builtin_setjmp, which saves no signal mask: no system call a switch */
    bool begun;
    struct block blocks;
    struct json_tokener *json;
    void (*body)(void);
    bool alive;
};

static struct process processes[SIM_PROCESSES];
static unsigned char stacks[SIM_PROCESSES][STACK_BYTES] __attribute__((aligned(16)));
static void *scheduler[5];
static const void *scheduler_stack;
static size_t scheduler_stack_bytes;
static int current = -1;
static uint64_t state, trace;
static int64_t wall_us, mono_us;
static bool calm;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void sim_begin(uint64_t seed)
{
    state = seed;
    state = next_random(); /* else the next seed's numbers were this one's, one later */
    trace = UINT64_C(14695981039346656037);
    wall_us = START_US;
    mono_us = 1000000;
    calm = false;
}

void sim_calm(bool on)
{
    calm = on;
}

uint64_t sim_trace(void)
{
    return trace;
}

uint64_t sim_random(uint64_t below)
{
    return (uint64_t)((unsigned __int128)next_random() * below >> 64);
}

bool sim_fault(unsigned in_10000)
{
    return !calm && sim_random(10000) < in_10000;
}

void sim_note(uint64_t what)
{
    trace = (trace ^ what ^ ((uint64_t)current << 56)) * (uint64_t)FNV;
}

int sim_process(void)
{
    return current;
}

/* ---- clocks ---- */

void sim_forward(int64_t us)
{
    wall_us += us;
    mono_us += us;
}

int64_t __wrap_clock_wall_us(void);
int64_t __wrap_clock_wall_us(void)
{
    if (sim_fault(5))
        wall_us += sim_random(2) ? -INT64_C(3600000000) : INT64_C(86400000000);
    return wall_us;
}

int64_t __wrap_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void)
{
    return mono_us;
}

/* ---- processes ---- */

/* AddressSanitizer wants to know whose stack it is: told before and after a jump to another. */
static void leaving(const void *to, size_t bytes)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(NULL, to,
                                   bytes); /* NULL: no fake stack is kept, a killed process never takes it up */
#else
    (void)to, (void)bytes;
#endif
}

static void arrived(bool at_process)
{
#ifdef __SANITIZE_ADDRESS__
    const void *from;
    size_t bytes;

    __sanitizer_finish_switch_fiber(NULL, &from, &bytes);
    if (at_process) {
        scheduler_stack = from;
        scheduler_stack_bytes = bytes;
    }
#else
    (void)at_process;
#endif
}

__attribute__((noinline, noreturn)) static void to_scheduler(void)
{
    leaving(scheduler_stack, scheduler_stack_bytes);
    __builtin_longjmp(scheduler, 1);
}

__attribute__((noinline, noreturn)) static void to_process(struct process *p)
{
    leaving(p->context.uc_stack.ss_sp, STACK_BYTES);
    if (p->begun)
        __builtin_longjmp(p->at, 1);
    p->begun = true;
    setcontext(&p->context);
    abort();
}

void sim_step(void)
{
    sim_forward(1 + (int64_t)sim_random(500));
    if (current < 0 || sim_random(calm ? 64 : 4) != 0)
        return;
    if (__builtin_setjmp(processes[current].at) == 0)
        to_scheduler();
    arrived(true);
}

static void run_body(void)
{
    arrived(true);
    processes[current].body();
    process_end(current);
    to_scheduler();
}

void process_start(int i, void (*body)(void))
{
    struct process *p = &processes[i];

    p->blocks.next = p->blocks.before = &p->blocks;
    p->json = NULL;
    p->body = body;
    p->alive = true;
    p->begun = false;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stacks[i], STACK_BYTES);
#endif
    getcontext(&p->context);
    p->context.uc_stack.ss_sp = stacks[i];
    p->context.uc_stack.ss_size = STACK_BYTES;
    p->context.uc_link = NULL;
    makecontext(&p->context, run_body, 0);
}

bool process_alive(int i)
{
    return processes[i].alive;
}

void process_run(int i)
{
    current = i;
    if (__builtin_setjmp(scheduler) == 0)
        to_process(&processes[i]);
    arrived(false);
    current = -1;
}

void __real_free(void *p);
void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
struct json_tokener *__real_json_tokener_new_ex(int depth);
void __real_json_tokener_free(struct json_tokener *t);

/* Large blocks go from one process to the next: new ones would cost more than the rest of a run. */
static struct block *kept[KEPT];

static void poison(struct block *b, bool on)
{
#ifdef __SANITIZE_ADDRESS__
    if (on)
        __asan_poison_memory_region(b + 1, b->bytes);
    else
        __asan_unpoison_memory_region(b + 1, b->bytes);
#else
    (void)b, (void)on;
#endif
}

static struct block *get_block(size_t n)
{
    struct block *b;

    for (int i = 0; n >= LARGE && i < KEPT; i++)
        if (kept[i] && kept[i]->bytes == n) {
            b = kept[i];
            kept[i] = NULL;
            poison(b, false);
            return b;
        }
    if ((b = __real_malloc(n + sizeof(*b))))
        b->bytes = n;
    return b;
}

static void give_back(struct block *b)
{
    for (int i = 0; b->bytes >= LARGE && i < KEPT; i++)
        if (!kept[i]) {
            kept[i] = b;
            poison(b, true);
            return;
        }
    __real_free(b);
}

void process_end(int i)
{
    struct process *p = &processes[i];

    if (!p->alive)
        return;
    sim_note(9);
    p->alive = false;
    while (p->blocks.next != &p->blocks) {
        struct block *b = p->blocks.next;

        p->blocks.next = b->next;
        give_back(b);
    }
    if (p->json)
        __real_json_tokener_free(p->json);
    p->json = NULL;
    disk_process_died(i);
}

/* ---- memory ---- */

static void enlist(struct block *b)
{
    static struct block outside = {.next = &outside, .before = &outside};
    struct block *list = current >= 0 ? &processes[current].blocks : &outside;

    b->next = list->next;
    b->before = list;
    list->next->before = b;
    list->next = b;
}

void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
    struct block *b = get_block(n);

    if (!b)
        return NULL;
    enlist(b);
    return b + 1;
}

void __wrap_free(void *p);
void __wrap_free(void *p)
{
    if (!p)
        return;
    struct block *b = (struct block *)p - 1;

    b->before->next = b->next;
    b->next->before = b->before;
    give_back(b);
}

void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    void *p = __wrap_malloc(n * size);

    return p ? memset(p, 0, n * size) : NULL;
}

void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
    if (!p)
        return __wrap_malloc(n);
    struct block *b = (struct block *)p - 1;

    b->before->next = b->next;
    b->next->before = b->before;
    if (!(b = __real_realloc(b, n + sizeof(*b))))
        abort();
    b->bytes = n;
    enlist(b);
    return b + 1;
}

struct json_tokener *__wrap_json_tokener_new_ex(int depth);
struct json_tokener *__wrap_json_tokener_new_ex(int depth)
{
    return processes[current].json = __real_json_tokener_new_ex(depth);
}

void __wrap_json_tokener_free(struct json_tokener *t);
void __wrap_json_tokener_free(struct json_tokener *t)
{
    processes[current].json = NULL;
    __real_json_tokener_free(t);
}

/* ---- the rest of the outside ---- */

/* Few process ids, so that they come again as in a container. */
pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void)
{
    return 100 + current;
}

long __wrap_random(void);
long __wrap_random(void)
{
    return (long)(next_random() >> 33);
}

uint32_t __wrap_randombytes_uniform(uint32_t below);
uint32_t __wrap_randombytes_uniform(uint32_t below)
{
    return (uint32_t)sim_random(below);
}

void __wrap_log_write(enum log_level level, const char *format, ...);
void __wrap_log_write(enum log_level level, const char *format, ...)
{
    (void)level, (void)format;
}
