/* schema_version.c: the version of the SQL that this program was built with */
#include "lib/store/schema_version.h"

const char *schema_version(void)
{
    return TOLLGATE_SQL;
}

void schema_version_hold(struct db *d)
{
    db_expect(d, TOLLGATE_SQL);
}
