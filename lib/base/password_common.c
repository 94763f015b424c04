/* password_common.c: what everybody tries first, by words and by rules */
#include "lib/base/password_common.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define CORE_MAX \
    64 /* letters and digits that are looked at; a longer password is no common one, unless it repeats itself */
#define RUN_LEAST 3  /* of an alphabet, a keyboard's row or one character */
#define PARTS_MOST 3 /* words and runs that together are still a common password */

/* Lower case, without spaces and signs. */
static const char *const words[] = {
    /* what it is for */
    "password",
    "passwort",
    "passwd",
    "passw",
    "pass",
    "passcode",
    "passphrase",
    "passme",
    "secret",
    "secrets",
    "private",
    "login",
    "logon",
    "signin",
    "access",
    "letmein",
    "letmeinnow",
    "openup",
    "opensesame",
    "enter",
    "entry",
    "welcome",
    "welcometo",
    "welcomeback",
    "hello",
    "hellothere",
    "hithere",
    "changeme",
    "changeit",
    "changethis",
    "changemenow",
    "change",
    "default",
    "temp",
    "temporary",
    "temppass",
    "test",
    "testing",
    "tester",
    "testtest",
    "demo",
    "example",
    "sample",
    "guest",
    "user",
    "username",
    "useraccount",
    "admin",
    "administrator",
    "administrators",
    "adminadmin",
    "root",
    "toor",
    "rootroot",
    "superuser",
    "super",
    "sudo",
    "operator",
    "manager",
    "master",
    "owner",
    "service",
    "support",
    "helpdesk",
    "system",
    "server",
    "database",
    "postgres",
    "postgresql",
    "mysql",
    "oracle",
    "linux",
    "debian",
    "ubuntu",
    "windows",
    "microsoft",
    "apple",
    "google",
    "android",
    "iphone",
    "computer",
    "internet",
    "network",
    "security",
    "secure",
    "safe",
    "safety",
    "keyword",
    "unlock",
    "please",
    "pleaseletmein",
    "nopassword",
    "mypassword",
    "yourpassword",
    "thepassword",
    "newpassword",
    "oldpassword",
    "nothing",
    "whatever",
    "anything",
    "something",
    "none",
    "blank",
    "empty",
    "unknown",
    "forgot",
    "forgotten",
    "remember",
    "qwert",
    "qwertz",
    "azerty",
    "dvorak",
    "trustno",
    "trustme",
    "trustnoone",
    "iforgot",
    "production",
    "staging",
    "develop",
    "developer",
    "company",
    "office",
    "business",
    "account",
    "accounts",
    "clinic",
    "hospital",
    "doctor",
    "medical",
    "patient",
    "health",
    "usage",
    "limit",
    "limits",
    "tenant",
    "gateway",
    /* people's favourites */
    "iloveyou",
    "iloveu",
    "ilove",
    "loveyou",
    "loveme",
    "lovely",
    "love",
    "lover",
    "lovers",
    "myloved",
    "sweet",
    "sweetheart",
    "sweetie",
    "honey",
    "baby",
    "babygirl",
    "babyboy",
    "darling",
    "angel",
    "angels",
    "princess",
    "prince",
    "queen",
    "king",
    "kings",
    "sunshine",
    "sunny",
    "moonlight",
    "starlight",
    "rainbow",
    "flower",
    "flowers",
    "butterfly",
    "summer",
    "winter",
    "spring",
    "autumn",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "christmas",
    "birthday",
    "holiday",
    "weekend",
    "football",
    "baseball",
    "basketball",
    "soccer",
    "hockey",
    "tennis",
    "golf",
    "golfer",
    "rugby",
    "cricket",
    "volleyball",
    "skateboard",
    "dragon",
    "dragons",
    "monkey",
    "monkeys",
    "tiger",
    "tigers",
    "lion",
    "lions",
    "eagle",
    "eagles",
    "falcon",
    "wolf",
    "wolves",
    "bear",
    "bears",
    "horse",
    "horses",
    "dolphin",
    "dolphins",
    "shark",
    "panther",
    "panda",
    "kitten",
    "kitty",
    "hellokitty",
    "puppy",
    "doggie",
    "bulldog",
    "turtle",
    "spider",
    "scorpion",
    "phoenix",
    "unicorn",
    "chicken",
    "rabbit",
    "bunny",
    "pokemon",
    "pikachu",
    "naruto",
    "minecraft",
    "fortnite",
    "starwars",
    "startrek",
    "superman",
    "batman",
    "spiderman",
    "ironman",
    "superstar",
    "rockstar",
    "rockyou",
    "metallica",
    "nirvana",
    "slipknot",
    "blink",
    "beatles",
    "elvis",
    "hotmail",
    "gmail",
    "yahoo",
    "facebook",
    "twitter",
    "youtube",
    "instagram",
    "linkedin",
    "whatsapp",
    "amazon",
    "netflix",
    "samsung",
    "nokia",
    "sony",
    "playstation",
    "nintendo",
    "xbox",
    "gamer",
    "player",
    "killer",
    "hunter",
    "ranger",
    "warrior",
    "soldier",
    "ninja",
    "pirate",
    "samurai",
    "shadow",
    "ghost",
    "phantom",
    "devil",
    "demon",
    "satan",
    "heaven",
    "jesus",
    "jesuschrist",
    "christ",
    "blessed",
    "faith",
    "grace",
    "hope",
    "freedom",
    "liberty",
    "peace",
    "trinity",
    "matrix",
    "merlin",
    "gandalf",
    "frodo",
    "harry",
    "potter",
    "harrypotter",
    "mustang",
    "corvette",
    "ferrari",
    "porsche",
    "mercedes",
    "toyota",
    "honda",
    "yamaha",
    "harley",
    "camaro",
    "chevy",
    "cheese",
    "cookie",
    "cookies",
    "chocolate",
    "banana",
    "orange",
    "cherry",
    "peanut",
    "pepper",
    "ginger",
    "coffee",
    "pizza",
    "whiskey",
    "diamond",
    "silver",
    "golden",
    "gold",
    "purple",
    "yellow",
    "green",
    "black",
    "white",
    "blue",
    "pink",
    "red",
    "crystal",
    "thunder",
    "lightning",
    "midnight",
    "hurricane",
    "storm",
    "winner",
    "champion",
    "number",
    "numberone",
    "lucky",
    "magic",
    "wizard",
    "awesome",
    "fantastic",
    "beautiful",
    "handsome",
    "gorgeous",
    "pretty",
    "cutie",
    "sexy",
    "fuckyou",
    "fuck",
    "fuckoff",
    "asshole",
    "bitch",
    "shit",
    "bullshit",
    "biteme",
    "money",
    "dollar",
    "million",
    "cowboy",
    "cowboys",
    "yankees",
    "lakers",
    "steelers",
    "packers",
    "raiders",
    "chelsea",
    "arsenal",
    "liverpool",
    "barcelona",
    "realmadrid",
    "juventus",
    "manchester",
    "united",
    "london",
    "paris",
    "berlin",
    "newyork",
    "texas",
    "california",
    "florida",
    "america",
    "canada",
    "brasil",
    "brazil",
    "mexico",
    "india",
    "pakistan",
    "france",
    "germany",
    "england",
    "michael",
    "michelle",
    "jennifer",
    "jessica",
    "jordan",
    "joshua",
    "daniel",
    "matthew",
    "andrew",
    "anthony",
    "thomas",
    "robert",
    "william",
    "charlie",
    "george",
    "ashley",
    "amanda",
    "nicole",
    "samantha",
    "elizabeth",
    "maria",
    "martin",
    "david",
    "richard",
    "patrick",
    "alexander",
    "alexandra",
    "benjamin",
    "jonathan",
    "christopher",
    "stephanie",
    "victoria",
    "sophie",
    "hannah",
    "maggie",
    "buster",
    "bailey",
    "ginger",
    "tigger",
    "snoopy",
    "garfield",
    "mickey",
    "donald",
    "family",
    "friend",
    "friends",
    "forever",
    "together",
    "mother",
    "father",
    "mama",
    "papa",
    "sister",
    "brother",
    "daddy",
    "mommy",
    "abc",
    "qaz",
    "wsx",
    "qazwsx",
    "qazwsxedc",
    "zaqxsw",
    "zaqwsx",
    "asdzxc",
    "qweasd",
    "qweasdzxc",
    "asd",
    "zxc",
    "qwe",
    "foobar",
    "foo",
    "bar",
    "barbaz",
    "xyzzy",
    "plugh",
    "lorem",
    "loremipsum",
    "correcthorsebatterystaple",
    "geheim",
    "hallo",
    "willkommen",
    "schatz",
    "motdepasse",
    "bonjour",
    "soleil",
    "azertyuiop",
    "contrasena",
    "hola",
    "tequiero",
    "senha",
    "ciao",
    "juventus",
    "wachtwoord",
    "welkom",
    "haslo",
    "parola",
    /* small ones between others */
    "my",
    "the",
    "is",
    "to",
    "me",
    "you",
    "it",
    "in",
    "on",
    "at",
    "of",
    "for",
    "and",
    "new",
    "our",
    "your",
    "this",
    "a",
    "tollgate",
    "tollgates",
    "toll",
    "gate",
};

/* What fingers walk along; each in both directions. */
static const char *const walks[] = {
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1q2w3e4r5t6y7u8i9o0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "zaqxswcdevfrbgtnhymjukilop",
    "147258369",
    "159357",
};

/* Does a password's character stand for a word's letter, as 4 and @ do for a? */
static bool stands_for(char c, char letter)
{
    static const char *const pairs[] = {"4a", "3e", "1i", "1l", "0o", "5s", "7t", "8b"};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (c == pairs[i][0] && letter == pairs[i][1])
            return true;
    return c == letter;
}

/* The length of `word` when `text` begins with it, else 0. */
static size_t begins_with(const char *text, const char *word)
{
    size_t n = 0;

    while (word[n] != '\0' && stands_for(text[n], word[n]))
        n++;
    return word[n] == '\0' ? n : 0;
}

/* Letters and digits in lower case, `signs`: also @ and $ as letters. False: longer than is looked at. */
static bool core_of(const char *text, size_t length, bool signs, char out[CORE_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < length; i++) {
        char c = (char)tolower((unsigned char)text[i]);

        if (signs && (c == '@' || c == '$'))
            c = c == '@' ? 'a' : 's';
        if ((unsigned char)c < 0x80 && !isalnum((unsigned char)c))
            continue;
        if (n == CORE_MAX)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

/* How many characters at the start walk along `row`, forwards or backwards. */
static size_t along(const char *at, const char *row)
{
    size_t best = 0;

    for (const char *start = strchr(row, *at); start && *at != '\0'; start = strchr(start + 1, *at)) {
        size_t there = 1, back = 1;

        while (at[there] != '\0' && at[there] == start[there])
            there++;
        while (at[back] != '\0' && start - row >= (ptrdiff_t)back && at[back] == start[-(ptrdiff_t)back])
            back++;
        best = there > best ? there : best;
        best = back > best ? back : best;
    }
    return best;
}

static size_t run_of(const char *at)
{
    size_t best = 1;

    while (at[best] != '\0' && at[best] == at[0])
        best++;
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
        size_t n = along(at, walks[i]);

        best = n > best ? n : best;
    }
    return best >= RUN_LEAST ? best : 0;
}

/* Is `core` made of at most `parts` words, runs and numbers, one behind the other? `own` is a word more, or NULL. */
static bool is_made_of(const char *core, size_t parts, const char *own)
{
    size_t digits = strspn(core, "0123456789"), run, n;

    if (*core == '\0')
        return true;
    if (digits > 0 && is_made_of(core + digits, parts, own))
        return true; /* a number costs nothing */
    if (parts == 0)
        return false;
    for (run = run_of(core); run >= RUN_LEAST; run--)
        if (is_made_of(core + run, parts - 1, own))
            return true;
    n = !own ? 0 : begins_with(core, own);
    if (n > 0 && is_made_of(core + n, parts - 1, own))
        return true;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        n = begins_with(core, words[i]);
        if (n > 0 && is_made_of(core + n, parts - 1, own))
            return true;
    }
    return false;
}

/* The same few characters again and again: "abcabcabcabc", "passwordpassword". */
static bool repeats(const char *text)
{
    size_t length = strlen(text);

    for (size_t unit = 1; unit <= 10 && unit * 2 <= length; unit++)
        if (strncmp(text, text + unit, length - unit) == 0)
            return true;
    return false;
}

const char *password_problem(const char *password, const char *email)
{
    const char *at = strchr(email, '@');
    size_t length = strlen(password);
    char core[CORE_MAX + 1], own[CORE_MAX + 1] = "";

    if (length < PASSWORD_LEAST || length > PASSWORD_MOST)
        return "A password has 12 to 1024 bytes.";
    if (repeats(password))
        return "This password repeats the same few characters.";
    if (!core_of(email, !at ? strlen(email) : (size_t)(at - email), false, own) || strlen(own) < RUN_LEAST)
        own[0] = '\0';
    for (int signs = 0; signs < 2; signs++) {
        if (!core_of(password, length, signs, core))
            continue;
        if (own[0] != '\0' && is_made_of(core, PARTS_MOST, own) && !is_made_of(core, PARTS_MOST, NULL))
            return "This password is made of the account's own e-mail address.";
        if (is_made_of(core, PARTS_MOST, NULL))
            return "This password is one of those that are tried first.";
    }
    return NULL;
}
