/* process: simulated processes, and the state that one run begins with; for simulation.c only. */
#ifndef SIMULATION_PROCESS_H
#define SIMULATION_PROCESS_H

#include "tests/fault/simulation/sim.h"

void sim_begin(uint64_t seed);
void sim_calm(bool on);
uint64_t sim_trace(void);

/* `body` runs in process `i` (0..SIM_PROCESSES) with process_run, a few system calls at a time. */
void process_start(int i, void (*body)(void));
bool process_alive(int i);
void process_run(int i);
/* It ended or was killed: memory, descriptors and locks go. */
void process_end(int i);

#endif
