/*
 * sim: the parts of the simulation: chance and trace, processes (sim.c), the disk (disk.c), the database (database.c).
 *
 * Everything random comes from one seed, everything that happens goes into the trace's hash, so a seed replays its run.
 * The product's code runs unchanged: the linker's --wrap puts disk.c and sim.c in place of the system calls.
 */
#ifndef SIMULATION_SIM_H
#define SIMULATION_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_PROCESSES 5 /* one collector and the writers */
#define SIM_EVENTS 512  /* attempts of a run, at most */
#define SIM_DIR "/spool"

/* ---- chance and trace ---- */
uint64_t sim_random(uint64_t below);
/* True `in_10000` of 10,000 times; never while faults are off. */
bool sim_fault(unsigned in_10000);
void sim_note(uint64_t what);
/* A system call begins here: another process may run first, and this one may never come back. */
void sim_step(void);
int sim_process(void);
void sim_forward(int64_t us);

/* ---- disk.c ---- */
void disk_format(void);
/* A process is gone: its descriptors and locks with it. */
void disk_process_died(int process);
/* What was synced stays, and a part of the rest that chance decides. */
void disk_power_cut(void);

/* ---- database.c ---- */
struct sim_book {
    uint8_t stored, rejected, duplicate; /* how often */
};
void database_reset(bool plant);
const struct sim_book *database_book(unsigned serial);
/* Damage that was reported without a power cut or a torn write is a fault. */
unsigned database_damage(void);

/* What is special about an event, in its value: serial * SIM_KINDS + kind millionths. */
enum sim_kind { SIM_PLAIN, SIM_POISON, SIM_KINDS };

#endif
