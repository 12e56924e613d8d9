#include "espalier/cli/program.h"

int main(int argc, char** argv) { return espalier::program(argc, argv); }
