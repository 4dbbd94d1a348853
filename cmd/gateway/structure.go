package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"mailweir/filter"
)

// structureJSON is the tree of a message's parts, what is ambiguous about it, and
// what the virus scanner was given.
type structureJSON struct {
	Parts       []filter.Part `json:"parts"`       // in document order; depth makes the tree
	Ambiguities []string      `json:"ambiguities"` // of all parts, and of what belongs to none
	Scan        scanJSON      `json:"scan"`
}

// scanJSON is filter.VirusFacts with all its keys.
type scanJSON struct {
	Scanned   bool   `json:"scanned"`   // the message as it came and all contents
	Contents  int    `json:"contents"`  // decoded contents that were scanned, of all readings
	Signature string `json:"signature"` // "" when nothing was found
	Where     string `json:"where"`     // the content it was found in; "" for the message as it came
	Version   string `json:"version"`
}

func structureOf(f *filter.Facts) structureJSON {
	s := structureJSON{Parts: f.Body.Parts, Ambiguities: f.Body.Ambiguities, Scan: scanJSON{
		f.Virus.Scanned, f.Virus.Contents, f.Virus.Signature, f.Virus.Where, f.Virus.Version,
	}}
	if s.Parts == nil {
		s.Parts = []filter.Part{}
	}
	if s.Ambiguities == nil {
		s.Ambiguities = []string{}
	}
	return s
}

// print is the text form. scanner is how the virus scan ended. What comes from the message is made printable.
func (s *structureJSON) print(w io.Writer, scanner string) {
	if len(s.Parts) == 0 {
		return
	}
	fmt.Fprintln(w, "\nparts                                               size  encoding          name, first octets, ambiguities")
	for _, p := range s.Parts {
		var about []string
		if p.Name != "" {
			about = append(about, strconv.QuoteToGraphic(p.Name))
		}
		if p.Disposition != "" {
			about = append(about, printable(p.Disposition))
		}
		if p.Magic != "" {
			about = append(about, "is "+p.Magic)
		}
		about = append(about, p.Ambiguities...)
		indent := strings.Repeat("  ", min(p.Depth, 12))
		line := fmt.Sprintf("  %-44s %9d  %-16s  %s", indent+printable(p.Type), p.Size, or(printable(p.Encoding), "-"), strings.Join(about, " "))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	if len(s.Ambiguities) > 0 {
		fmt.Fprintf(w, "  ambiguous: %s\n", strings.Join(s.Ambiguities, " "))
	}
	switch v := &s.Scan; {
	case v.Signature != "":
		fmt.Fprintf(w, "  scanned: %s in %s\n", v.Signature, or(v.Where, "the message as it came"))
	case v.Scanned:
		fmt.Fprintf(w, "  scanned: the message as it came and %d contents, nothing found\n", v.Contents)
	default:
		fmt.Fprintf(w, "  scanned: not, or not all of it: %s\n", scanner)
	}
}
