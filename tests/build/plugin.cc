// plugin.cc - a plugin in C++ that a program in C loads beside Oakum: new and delete must agree
// with each other, and with the copies of them that libstdc++ calls for its strings.
#include <string>

extern "C" int module_run()
{
    std::string *s = new std::string(10000, 'x');
    s->append(20000, 'y');
    int result = s->size() == 30000 ? 0 : -1;
    delete s;
    return result;
}
