package queue

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// victim is the process that is killed: eight sessions bring mail as fast as
// they can, a next hop takes it. It says what was acknowledged, and what was
// relayed, after the fact.
func victim(dir string) {
	keys := victimKeys(dir)
	q, err := Open(fsx.OS{}, dir, Options{SegmentSize: 1 << 20, SpillAt: 16 << 10, Keys: keys})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	if keys != nil {
		go turnVictimKeys(q, dir)
	}
	var mu sync.Mutex // lines are written whole
	say := func(what string, id mail.ID, content []byte) {
		h := fnv.New64a()
		h.Write(content)
		line := fmt.Sprintf("%s %s %s\n", what, id, hex.EncodeToString(h.Sum(nil)))
		mu.Lock()
		os.Stdout.WriteString(line)
		mu.Unlock()
	}
	n := newNext()
	n.check = func(m *mail.Message, content []byte) error { say("relayed", m.Envelope.ID, content); return nil }
	go q.Run(context.Background(), n)
	for k := range 8 {
		go func() {
			for i := 0; ; i++ {
				m := newMessage(nil, "a@d.example")
				body := bytes.Repeat([]byte{byte('a' + (i+k)%26)}, rand.IntN(20000))
				if put(q, m, body) == nil {
					say("acked", m.Envelope.ID, append([]byte(testHead), body...))
				}
			}
		}()
	}
	select {}
}

// victimKeys are those in the file beside the spool, if there is one.
func victimKeys(dir string) []Key {
	text, err := os.ReadFile(dir + ".key")
	if err != nil {
		return nil
	}
	keys, err := ParseKeys(text)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	return keys
}

// turnVictimKeys changes the master key, and ends epochs, without a pause.
func turnVictimKeys(q *Queue, dir string) {
	replace := func(text string) {
		name := dir + ".key"
		if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
			panic(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			panic(err)
		}
	}
	for {
		old, err := os.ReadFile(dir + ".key")
		if err != nil {
			panic(err)
		}
		line := NewKeyLine()
		replace(line + string(old))
		if err := q.Rekey(victimKeys(dir)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		replace(line)
		q.turnKeys(q.now().Add(24*time.Hour), q.pace)
		fmt.Println("turned")
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("MAILWEIR_QUEUE_VICTIM"); dir != "" {
		victim(dir)
	}
	if dir := os.Getenv("MAILWEIR_QUEUE_START"); dir != "" {
		starter(dir)
	}
	verifyTestMain(m)
}

// TestKill9 kills a process in full flight, many times over, on one spool. What
// it acknowledged is relayed in the end, unaltered; what is relayed twice is
// bounded by the attempts in flight and the outcomes not yet synced.
func TestKill9(t *testing.T) {
	kill9(t, t.TempDir(), sized(t, 12, 1000), func(int) string { return "" })
}

// TestKill9Rekey does it to a sealed spool whose keys change all the time. Every
// other process lives until it has changed them once, however slow the disk is,
// and is killed in a change after that; the others die at any moment, in the
// first change mostly.
func TestKill9Rekey(t *testing.T) {
	dir := t.TempDir() + "/spool"
	if err := os.WriteFile(dir+".key", []byte(NewKeyLine()), 0o600); err != nil {
		t.Fatal(err)
	}
	cycles := sized(t, 6, 500)
	turns := kill9(t, dir, cycles, func(cycle int) string { return []string{"turned", ""}[cycle%2] })
	t.Logf("the keys were changed %d times", turns)
	if want := (cycles + 1) / 2; turns < want {
		t.Errorf("the keys were changed %d times, want %d at least", turns, want)
	}
}

// kill9 kills a process some time after it has said the word that since gives
// for the cycle, after its start where that is "".
func kill9(t *testing.T, dir string, cycles int, since func(cycle int) string) (turns int) {
	acked, relayed := map[string]string{}, map[string]int{}
	worst := 0
	for cycle := range cycles {
		again := 0
		lines, turned := killed(t, dir, time.Duration(20+rand.IntN(180))*time.Millisecond, since(cycle))
		turns += turned
		for _, f := range lines {
			switch f[0] {
			case "acked":
				acked[f[1]] = f[2]
			case "relayed":
				if relayed[f[1]+f[2]]++; relayed[f[1]+f[2]] > 1 {
					again++
				}
			default:
				t.Fatal(f)
			}
		}
		worst = max(worst, again)
	}
	q := mustOpen(t, fsx.OS{}, dir, Options{Keys: victimKeys(dir)})
	n := newNext()
	n.check = func(m *mail.Message, content []byte) error {
		h := fnv.New64a()
		h.Write(content)
		relayed[m.Envelope.ID.String()+hex.EncodeToString(h.Sum(nil))]++
		return nil
	}
	run(t, q, n, func() bool { return q.Stats().Recipients == 0 })
	mustClose(t, q)
	for id, sum := range acked {
		if relayed[id+sum] == 0 {
			t.Errorf("%s was acknowledged and is lost or altered", id)
		}
	}
	t.Logf("%d kills, %d messages acknowledged, 0 lost, at most %d relayed again after one", cycles, len(acked), worst)
	if bound := 20 + 2*maxUnsynced; worst > bound {
		t.Errorf("%d relayed again after one kill, the bound is %d", worst, bound)
	}
	// Enough to prove anything.
	if len(acked) < cycles*5 && !mailtest.RaceDetector {
		t.Errorf("only %d messages: the harness does not press", len(acked))
	}
	return turns
}

// silence is how long a process may say nothing of what it is waited for.
const silence = time.Minute

func killed(t *testing.T, dir string, after time.Duration, since string) (lines [][]string, turned int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAILWEIR_QUEUE_VICTIM="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait := after
	if since != "" {
		wait = silence
	}
	timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
	defer timer.Stop()
	for s := bufio.NewScanner(out); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) > 0 && f[0] == since {
			timer.Reset(after)
			since = ""
		}
		if len(f) == 3 && len(f[2]) == 16 {
			lines = append(lines, f)
		} else if len(f) > 0 && f[0] == "error" {
			t.Error(s.Text())
		} else if len(f) > 0 && f[0] == "turned" {
			turned++
		}
	}
	cmd.Wait()
	return lines, turned
}
