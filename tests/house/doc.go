// Package house holds the rules of the house as tests: who may import whom,
// which folders may exist, and that the words in the documents are true of the
// tree. It owns no code that runs elsewhere; it reads the repository as files.
//
// A failing rule is mended in the code or argued in an ADR, never by loosening
// the table to fix a build.
package house
