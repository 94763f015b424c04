/* arguments.c: a daemon's command line */
#include "lib/base/arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define FLAGS_MOST 8
#define FIRST_FLAG 256 /* getopt_long's value of the first of them */

int arguments_read(int argc, char *argv[], const char *program, const char *usage, const struct arguments_flag flags[],
                   const char **config)
{
    struct option options[FLAGS_MOST + 4] = {{"config", required_argument, NULL, 'c'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, 'v'}};
    int option;

    for (int i = 0; i < FLAGS_MOST && flags[i].name; i++)
        options[3 + i] = (struct option){flags[i].name, no_argument, NULL, FIRST_FLAG + i};
    optind = 0;
    while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (option == 'c') {
            *config = optarg;
        } else if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        } else if (option == 'v') {
            printf("%s %s\n", program, TOLLGATE_VERSION);
            return EXIT_SUCCESS;
        } else if (option >= FIRST_FLAG) {
            *flags[option - FIRST_FLAG].set = true;
        } else {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "%s: \"%s\" is no option\n%s", program, argv[optind], usage);
    return 2;
}
