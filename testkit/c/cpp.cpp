// C++ exceptions.
#include <stdexcept>

namespace {

__attribute__((noinline)) void refuse(volatile int number)
{
    if (number > 0) {
        throw std::runtime_error("the fixture throws");
    }
}

} // namespace

// noexcept: what would cross into the caller's frames, which is undefined, calls std::terminate here instead.
extern "C" void cpp_throw_uncaught() noexcept
{
    refuse(1);
}

extern "C" int cpp_throw_and_catch() noexcept
{
    try {
        refuse(1);
    } catch (const std::runtime_error &) {
        return 1;
    }
    return 0;
}
