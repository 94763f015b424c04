-- refuse.lua: a method that nobody may use, whoever would answer it
return 405
