/* schema_version.c: the version of the SQL that this program was built with */
#include "lib/store/schema_version.h"

#include "lib/store/schema_checksum.h" /* made by the Makefile */

const char *schema_version(void)
{
    return SCHEMA_CHECKSUM;
}

void schema_version_hold(struct db *d)
{
    db_expect(d, SCHEMA_CHECKSUM);
}
