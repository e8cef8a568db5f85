#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "stages/catalog_types.hpp"
#include "stages/concept_names.hpp"

// A catalog: a directory of JSON Lines files (docs/catalog.md). concepts.jsonl is streamed; a rank
// keeps the records it works on.
namespace quench::corpus {

// Where each concept stands in concepts.jsonl.
struct ConceptEntry {
  std::string name, hash;
  std::vector<std::string> aliases;
  std::int64_t offset = 0;  // bytes
  std::int64_t bytes = 0;
  std::int64_t sentences = 0, questions = 0, paragraphs = 0;
  std::int64_t sentence_bytes = 0;  // of all sentences' text
  bool sensitive = false;           // answers about it are hidden in reports
};

// Names and aliases of the concepts, for messages about `whose` concepts.
ConceptNames names_of(const std::vector<ConceptEntry>& entries, const std::string& whose);

// One thing wrong with a catalog.
struct CatalogProblem {
  std::string file;       // in the catalog's directory
  std::int64_t line = 0;  // 1-based; 0: the file as a whole
  std::string field;      // "questions.concept.train[3].options"; may be empty
  std::string what;
};
// "concepts.jsonl:3: questions.concept.train[3].options: ..."
std::string to_text(const CatalogProblem& problem);

// Every problem of the catalog, in one pass over its files, a record in memory at a time: missing
// files, missing, unknown and doubled fields, wrong types, duplicate names, answers not among the
// options, options that are not four or not distinct, the same question twice in a concept or in
// general.jsonl, empty text, invalid UTF-8, JSON syntax, no sentences, no train or no test
// questions in a group of a concept or in general.jsonl. Empty: good.
std::vector<CatalogProblem> check_catalog(const std::filesystem::path& dir);

// The index of concepts.jsonl, in file order. Throws DataError that lists the problems of the file
// when it is not good (the first 50, and how many there are).
std::vector<ConceptEntry> index_catalog(const std::filesystem::path& dir);
// Throws DataError when the file was changed after it had been indexed.
Concept read_concept(const std::filesystem::path& dir, const ConceptEntry& entry);
// Throws DataError that lists the problems of the shared files, as index_catalog.
SharedText read_shared(const std::filesystem::path& dir);

}  // namespace quench::corpus
