/* health_file: collector.json in run_dir, what health.h knows; written by the main thread. docs/operating.md names its members. */
#ifndef COLLECTOR_HEALTH_FILE_H
#define COLLECTOR_HEALTH_FILE_H

#include "collector/collector.h"

/* STATUS_NO_SPACE: the disk is full. */
MUST_CHECK enum status health_file_write(struct collector *c);

#endif
