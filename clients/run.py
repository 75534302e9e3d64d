#!/usr/bin/env python3
"""Runs the tests of one module of this folder, shows each as it ends, and closes with their numbers.

    run.py MODULE [TEST…]        for example: run.py hvac_test   or   run.py hvac_test Story.test_read_only_token
"""

import sys
import time
import unittest

sys.dont_write_bytecode = True


class Shown(unittest.TextTestResult):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.good, self.bad, self.left, self.module = 0, set(), {}, ""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def _say(self, test, word):
        self.stream.write(f"{word:7} {short(test)} ({time.monotonic() - getattr(self, 'began', time.monotonic()):.1f} s)\n")
        self.stream.flush()

    def addSuccess(self, test):
        self.good += 1
        self._say(test, "ok")

    def addFailure(self, test, error):
        self._bad(test, error, "FAILED")

    def addError(self, test, error):
        self._bad(test, error, "ERROR")

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.stream.write(f"        in {subtest._subDescription()}\n")
            self._bad(test, error, "FAILED")

    def _bad(self, test, error, word):
        self.bad.add(short(test))
        self._say(test, word)
        self.stream.write("    " + self._exc_info_to_string(error, test).strip().replace("\n", "\n    ") + "\n")
        self.stream.flush()
        self.failures.append((test, ""))

    def addSkip(self, test, reason):
        self.left[short(test)] = reason
        self._say(test, "skip")


def short(test):
    return test.id().removeprefix("unittest.loader._FailedTest.")


def main():
    module, chosen = sys.argv[1], sys.argv[2:]
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames([f"{module}.{name}" for name in chosen]) if chosen else loader.loadTestsFromName(module)
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Shown, verbosity=0)
    result = Shown(runner.stream, True, 0)
    result.startTestRun()
    suite.run(result)
    for name, reason in result.left.items():
        print(f"skipped: {name}: {reason}")
    print(f"{result.good} passed, {len(result.bad)} failed, {len(result.left)} skipped")
    return 1 if result.bad or not result.good else 0


if __name__ == "__main__":
    sys.exit(main())
