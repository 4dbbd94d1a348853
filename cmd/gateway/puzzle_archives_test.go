package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"mailweir/filter"
	"mailweir/internal/mailtest"
)

// nest packs EICAR into archives of these kinds, the innermost first.
func nest(t testing.TB, kinds []string) []byte {
	data := mailtest.EICAR()
	name := "a.dat"
	for _, k := range kinds {
		data = mailtest.Packers[k](t, name, data)
		name = "a." + strings.Fields(k)[0]
	}
	return data
}

// TestArchivePuzzles: EICAR inside of archives of every kind that is looked
// into, up to 20 deep, of one kind and mixed. The real clamd finds it, alone or
// with the members that it is given, or the policy for bombs refuses it.
func TestArchivePuzzles(t *testing.T) {
	kinds := slices.Sorted(maps.Keys(mailtest.Packers))
	if _, err := exec.LookPath("bzip2"); err != nil {
		t.Log("bzip2 is not installed, and left out")
		kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == "bzip2" })
	}
	var list [][]string
	for _, k := range kinds {
		for depth := 1; depth <= 20; depth++ {
			list = append(list, slices.Repeat([]string{k}, depth))
		}
		for _, other := range kinds {
			list = append(list, []string{k, other})
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		var mixed []string
		for range 3 + r.IntN(18) {
			mixed = append(mixed, kinds[r.IntN(len(kinds))])
		}
		list = append(list, mixed)
	}
	check := puzzleChecker(t)
	jobs := make(chan []string)
	var mu sync.Mutex
	var wg sync.WaitGroup
	reasons := map[filter.Reason]int{}
	for range 4 {
		wg.Go(func() {
			for kinds := range jobs {
				p := part{"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"a." + strings.Fields(kinds[len(kinds)-1])[0] + "\"\r\n" + cte + "base64\r\n",
					wrap(base64.StdEncoding.EncodeToString(nest(t, kinds)), 76)}
				reason := check(puzzleHead + mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + p.String() + "--bb--\r\n")
				mu.Lock()
				reasons[reason]++
				if reason != filter.ReasonVirus && (reason != filter.ReasonAttachment || len(kinds) <= 6) {
					t.Errorf("%s (%d deep): %s", strings.Join(kinds, " < "), len(kinds), reason)
				}
				mu.Unlock()
			}
		})
	}
	for _, kinds := range list {
		jobs <- kinds
	}
	close(jobs)
	wg.Wait()
	t.Log(fmt.Sprint(len(list), " messages: ", reasons))
}
