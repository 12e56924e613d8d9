"""Each kernel that core/kernels.h declares stands in the built library, on the CPU and on the card, with the same
arguments. A program links only what it calls: this finds a kernel that is missing before anybody calls it."""
import os
import re
import subprocess
import unittest
from collections import Counter, defaultdict
from pathlib import Path

HEADER = Path(__file__).parents[2] / 'core' / 'kernels.h'


def declared(header, macro='ESP_KERNEL(?:_REAL)?'):
    """How often each kernel is declared: once for each way to overload it."""
    return Counter(re.findall(rf'^{macro}\([\w ]+, (\w+),', header, re.MULTILINE))


def defined(symbols, namespace):
    """Of the functions that `nm --demangle` shows in a namespace: their arguments, by name."""
    found = defaultdict(set)
    for name, arguments in re.findall(rf'^\w* T espalier::{namespace}::(\w+)(\(.*\))$', symbols, re.MULTILINE):
        found[name].add(arguments)
    return found


def missing(header, symbols):
    """A line for each kernel that one of the devices lacks."""
    cpu, cuda = defined(symbols, 'cpu'), defined(symbols, 'cuda')
    lines = []
    for name, times in declared(header, 'ESP_KERNEL_REAL').items():  # on the card in bf16, too
        in_bf16 = {arguments for arguments in cuda[name] if 'bf16' in arguments}
        if len(in_bf16) != times:
            lines.append(f'cuda::{name} in bf16')
        cuda[name] -= in_bf16
    for name, times in declared(header).items():
        for device, has, other in (('cpu', cpu, cuda), ('cuda', cuda, cpu)):
            lines += [f'{device}::{name}{arguments}' for arguments in sorted(other[name] - has[name])]
            if not has[name] and not other[name] or len(has[name] | other[name]) < times:
                lines.append(f'{device}::{name}, declared {times} times')
    return lines


class Kernels(unittest.TestCase):
    def test_none_is_missing(self):
        header = HEADER.read_text()
        self.assertGreater(len(declared(header)), 50)
        self.assertEqual(len(re.findall(r'\nESP_KERNEL(?:_REAL)?\(', header)), sum(declared(header).values()))
        self.assertGreater(len(declared(header, 'ESP_KERNEL_REAL')), 30)
        symbols = subprocess.run([os.environ['ESPALIER_NM'], '--demangle', '--defined-only',
                                  os.environ['ESPALIER_CORE_LIBRARY']], capture_output=True, text=True, check=True)
        self.assertEqual(missing(header, symbols.stdout), [])

    def test_one_that_is_missing_is_named(self):
        header = 'ESP_KERNEL(void, add, int n)\nESP_KERNEL(float, mul, int n)\nESP_KERNEL(float, mul, float n)\n'
        symbols = ['0 T espalier::cpu::add(int)', '0 T espalier::cpu::mul(int)', '0 T espalier::cpu::mul(float)',
                   '0 T espalier::cuda::add(int)', '0 T espalier::cuda::mul(int)', '0 T espalier::cuda::mul(float)']
        self.assertEqual(missing(header, '\n'.join(symbols)), [])
        self.assertEqual(missing(header, '\n'.join(symbols[:-1])), ['cuda::mul(float)'])
        self.assertEqual(missing(header, '\n'.join(symbols[1:])), ['cpu::add(int)'])
        self.assertEqual(missing(header, '\n'.join(symbols[1:3] + symbols[4:])),
                         ['cpu::add, declared 1 times', 'cuda::add, declared 1 times'])
        undefined = '\n'.join(symbols[:-1] + ['  U espalier::cuda::mul(float)'])
        self.assertEqual(missing(header, undefined), ['cuda::mul(float)'])

    def test_one_that_is_missing_in_bf16_is_named(self):
        header = 'ESP_KERNEL_REAL(void, add, Real* y)\n'
        symbols = ['0 T espalier::cpu::add(float*)', '0 T espalier::cuda::add(float*)',
                   '0 T espalier::cuda::add(espalier::bf16*)']
        self.assertEqual(missing(header, '\n'.join(symbols)), [])
        self.assertEqual(missing(header, '\n'.join(symbols[:-1])), ['cuda::add in bf16'])
        self.assertEqual(missing(header, '\n'.join(symbols[::2])), ['cuda::add(float*)'])
