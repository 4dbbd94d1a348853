package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"mailweir/filter"
	"mailweir/internal/mailtest"
)

var allPuzzles = flag.Bool("puzzles", false, "every structure in every encoding, instead of a sample")

// TestPuzzles: EICAR in structures and encodings that clients read in different
// ways. The real clamd finds it, or the structure is refused; nothing else
// counts, and no message may pass. Its signature wants EICAR at the beginning of
// a file, as those of real life do.
func TestPuzzles(t *testing.T) {
	list, ways := structures(), encodings(mailtest.EICAR())
	if len(list) < 200 || len(ways) < 40 {
		t.Fatalf("%d structures, %d encodings", len(list), len(ways))
	}
	check := puzzleChecker(t)
	type job struct{ s, e int }
	jobs := make(chan job)
	var mu sync.Mutex
	var wg sync.WaitGroup
	total, reasons, missed := 0, map[filter.Reason]int{}, map[string]int{}
	for range 4 {
		wg.Go(func() {
			for j := range jobs {
				name := list[j.s].name + " + " + ways[j.e].name
				reason := check(list[j.s].build(puzzlePart(ways[j.e])))
				mu.Lock()
				total++
				reasons[reason]++
				if reason != filter.ReasonVirus && reason != filter.ReasonStructure {
					missed[name]++
				}
				mu.Unlock()
			}
		})
	}
	for s := range list {
		for e := range ways {
			if *allPuzzles || (s*7+e*11)%23 == 0 || s == 0 || e == 14 {
				jobs <- job{s, e}
			}
		}
	}
	close(jobs)
	wg.Wait()
	t.Logf("%d messages: %v", total, reasons)
	names := make([]string, 0, len(missed))
	for n := range missed {
		names = append(names, n)
	}
	sort.Strings(names)
	for i, n := range names {
		if i < 60 {
			t.Error("passed: ", n)
		}
	}
	if len(names) > 0 {
		t.Errorf("%d of %d passed", len(names), total)
	}
}

func puzzlePart(e encoded) part {
	kind := or(e.kind, "application/octet-stream")
	fields := "Content-Type: " + kind + "\r\n" + e.fields
	if e.kind == "" {
		fields += "Content-Disposition: attachment; filename=\"a.com\"\r\n"
	}
	return part{fields, e.body}
}

// puzzleChecker judges messages by the whole pipeline without rules, so that
// nothing but virus and structure can refuse one. more is added to its config.
func puzzleChecker(t *testing.T, more ...string) func(string) filter.Reason {
	t.Helper()
	d := mailtest.StartStrictClamd(t)
	conf := filepath.Join(t.TempDir(), "gateway.toml")
	text := "hostname = \"mx.example.org\"\ndata_dir = \"/nonexistent\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n" +
		"[[domain]]\nname = \"example.org\"\nnext_hops = [\"127.0.0.1:1\"]\n[clamav]\naddress = \"unix:" + d.Socket + "\"\n" +
		"[checks]\ndisabled = [\"rules\"]\n" + strings.Join(more, "\n")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(conf)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChecker(context.Background(), cfg, &checkOptions{config: conf, noDNS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return func(message string) filter.Reason {
		f, err := c.message(context.Background(), normalize([]byte(message)), nil)
		if err != nil {
			return filter.Reason(err.Error())
		}
		if f.Action != filter.Reject {
			return "passed: " + f.Reason
		}
		return f.Reason
	}
}

// TestNestedArchives: EICAR in archives deeper than clamd looks, which says
// nothing of it by default. What it cannot see is not accepted as clean.
func TestNestedArchives(t *testing.T) {
	check := puzzleChecker(t)
	for _, depth := range []int{1, 5, 16, 40} {
		data := mailtest.EICAR()
		for range depth {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			w, err := z.Create("a.zip")
			if err != nil {
				t.Fatal(err)
			}
			w.Write(data)
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			data = b.Bytes()
		}
		p := part{"Content-Type: application/zip; name=a.zip\r\n" + cte + "base64\r\n",
			wrap(base64.StdEncoding.EncodeToString(data), 76)}
		reason := check(puzzleHead + mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + p.String() + "--bb--\r\n")
		if reason == "passed: " || reason == "" {
			t.Errorf("%d archives inside each other pass", depth)
		}
		t.Logf("%d deep: %s", depth, reason)
	}
}
