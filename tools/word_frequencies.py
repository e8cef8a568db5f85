#!/usr/bin/env python3
"""Makes configs/frequencies/english.tsv out of the wheel of the package `wordfreq`:

    pip download --no-deps wordfreq==3.1.1
    tools/word_frequencies.py wordfreq-3.1.1-py3-none-any.whl > configs/frequencies/english.tsv

A line a word: the word, in small letters, and in how many of a million sentences of general English it is to be
expected. wordfreq gives shares of running words; a sentence is taken to have 20 words that are drawn independently.
"""
import argparse
import gzip
import zipfile

import msgpack

SENTENCE_WORDS = 20
HEADER = """\
# Words of general English and in how many of a million sentences of 20 words each one is to be expected.
# Made by tools/word_frequencies.py from the word list "small_en" of wordfreq 3.1.1 (Robyn Speer, doi 10.5281/zenodo.7199437),
# whose data may be redistributed under CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/); so may this table.
# wordfreq's sources for English include Wikipedia, OPUS OpenSubtitles 2018, SUBTLEX, ParaCrawl, the Leeds Internet
# Corpus and Google Books Ngrams (http://books.google.com/ngrams).
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel")
    with zipfile.ZipFile(parser.parse_args().wheel) as wheel:
        _, *by_centibel = msgpack.unpackb(gzip.decompress(wheel.read("wordfreq/data/small_en.msgpack.gz")), raw=False)
    print(HEADER, end="")
    for centibel, words in enumerate(by_centibel):
        share = 10 ** (-centibel / 100)
        count = round(1e6 * (1 - (1 - share) ** SENTENCE_WORDS))
        for word in sorted(word for word in words if any(letter.isalpha() for letter in word)):
            print(f"{word}\t{count}")


if __name__ == "__main__":
    main()
