"""docs/how-to/: what its pages name is there, and what they quote stands in the code."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "how-to"
PAGES = {path.stem: path.read_text() for path in FOLDER.glob("*.md") if path.stem != "README"}
INDEX = (FOLDER / "README.md").read_text()


def prose(page):
    return re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)


def listed_files(page):
    """Those of the page's table."""
    return re.findall(r"^\| `([^`]+)` \|", page, re.M)


def named_files(page):
    """All that it calls by a path: `core/kernels.h`."""
    return {name for name in re.findall(r"`([\w./-]+)`", prose(page)) if re.search(r"\w/[\w./-]*\.\w+$", name)}


def excerpts(page):
    """(file, content): of each quotation, with the file that was named last before it."""
    file, content = None, None
    for line in page.splitlines():
        if content is not None:
            if line == "```":
                yield file, content
                content = None
            else:
                content += line + "\n"
        elif re.fullmatch(r"```\w+ excerpt", line):
            content = ""
        else:
            file = ([name for name in re.findall(r"`([\w./-]+)`", line) if re.search(r"/[\w-]+\.\w+$", name)] or [file])[-1]


class HowTo(unittest.TestCase):
    def test_the_index_has_every_page_and_the_readme_the_index(self):
        linked = set(re.findall(r"\]\(([\w-]+)\.md\)", INDEX))
        self.assertEqual(linked, set(PAGES))
        self.assertEqual(linked, {"op", "layer", "model", "optimizer", "criterion", "penalty", "method", "data-set", "command"})
        self.assertTrue("](docs/how-to/README.md)" in (ROOT / "README.md").read_text(), "the README does not link the index")

    def test_the_files_are_there_and_as_many_as_said(self):
        said = {name: (int(files), example) for name, files, example in
                re.findall(r"^\|.*\]\(([\w-]+)\.md\).*\| (\d+) \| `(\w+)` \|$", INDEX, re.M)}
        self.assertEqual(set(said), set(PAGES))
        for name, page in PAGES.items():
            files, example = listed_files(page), said[name][1]
            self.assertEqual(len(files), len(set(files)), name)
            self.assertEqual((name, int(re.search(r"^## Files: (\d+)$", page, re.M)[1])), (name, said[name][0]))
            self.assertEqual((name, len(files)), (name, said[name][0]))
            self.assertIn(f"The example is `{example}`", page.replace("\n", " "))
            for file in files:
                with self.subTest(page=name, file=file):
                    self.assertTrue(re.search(example, (ROOT / file).read_text(), re.I), f"{file} does not have {example}")
            for file in named_files(page):
                with self.subTest(page=name, file=file):
                    self.assertTrue((ROOT / file).is_file(), f"{file} is not there")

    def test_what_is_quoted_stands_in_the_file(self):
        for name, page in PAGES.items():
            quoted = list(excerpts(page))
            self.assertTrue(quoted, name)
            for file, content in quoted:
                with self.subTest(page=name, file=file):
                    self.assertIn(file, named_files(page))
                    self.assertTrue(" ".join(content.split()) in " ".join((ROOT / file).read_text().split()),
                                    f"{file} does not have this:\n{content}")

    def test_links_lead_somewhere(self):
        for path in (*FOLDER.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")):
            for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", prose(path.read_text())):
                with self.subTest(page=str(path), link=target):
                    self.assertTrue((path.parent / target).exists(), f"{target} is not there")


if __name__ == "__main__":
    unittest.main()
