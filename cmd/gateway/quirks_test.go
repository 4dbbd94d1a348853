package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"text/template"

	"mailweir/filter"
)

// TestQuirks: EICAR where some mail program, or some program that it starts,
// looks for a file. The cases are the files of testdata/quirks: messages, in
// which {{...}} packs what may not lie about in a repository. Each is found to
// be infected, or refused for its structure, or, where its name says
// "(attachment)", as something that is not unpacked; "(unreadable)" are archives
// that the policy lets pass, but not without a symbol.
func TestQuirks(t *testing.T) {
	cases := quirks(t)
	check, strict := puzzleChecker(t), puzzleChecker(t, `[attachments]`, `unreadable = "reject"`, "")
	jobs := make(chan quirk)
	var mu sync.Mutex
	var wg sync.WaitGroup
	reasons := map[filter.Reason]int{}
	for range 4 {
		wg.Go(func() {
			for q := range jobs {
				reason := check(q.message)
				if q.unreadable {
					reason = strict(q.message)
				}
				mu.Lock()
				reasons[reason]++
				if reason != filter.ReasonVirus && reason != filter.ReasonStructure && !(reason == filter.ReasonAttachment && (q.attachment || q.unreadable)) {
					t.Errorf("%s: %s: %q", q.file, q.name, reason)
				}
				mu.Unlock()
			}
		})
	}
	for _, q := range cases {
		jobs <- q
	}
	close(jobs)
	wg.Wait()
	t.Logf("%d messages: %v", len(cases), reasons)
}

// quirk is one case.
type quirk struct {
	file, name, message string
	attachment          bool // the policy for attachments may refuse it
	unreadable          bool // the same, where it does not let pass what cannot be read
}

// quirks reads the cases: "-- name --", and the message up to the next one.
func quirks(t testing.TB) []quirk {
	t.Helper()
	files, err := filepath.Glob("testdata/quirks/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases: ", err)
	}
	title := regexp.MustCompile(`(?m)^== (.*) ==\n`)
	var out []quirk
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := title.FindAllSubmatchIndex(text, -1)
		for i, m := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			q := quirk{file: filepath.Base(name), name: string(text[m[2]:m[3]])}
			q.attachment = strings.Contains(q.name, "(attachment)")
			q.unreadable = strings.Contains(q.name, "(unreadable)")
			tmpl, err := template.New(q.name).Funcs(quirkWords(t)).Parse(string(text[m[1]:end]))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var b bytes.Buffer
			if err := tmpl.Execute(&b, nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			q.message = strings.ReplaceAll(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n", "\r\n")
			out = append(out, q)
		}
	}
	return out
}
