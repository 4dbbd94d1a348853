package torture

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// call is one system call that strace saw.
type call struct {
	thread   string
	name     string
	fd       string // of calls on a descriptor
	file     string // what the descriptor stands for
	text     string
	result   string // "" when the process did not live to see it
	injected bool
	start    int // order of the lines in which it started
	end      int // and ended
}

func (c *call) failed() bool { return strings.HasPrefix(c.result, "-1 ") }

// isSync tells that the call makes a file durable.
func (c *call) isSync() bool { return c.name == "fsync" || c.name == "fdatasync" }

// isSegment tells that it is about a segment of the log.
func (c *call) isSegment() bool {
	return strings.Contains(c.file, "/seg/") && strings.HasSuffix(c.file, ".log")
}

var (
	callStart = regexp.MustCompile(`^(\w+)\((?:(\d+)<([^>]*)>)?`)
	resumed   = regexp.MustCompile(`^<\.\.\. (\w+) resumed>(.*)`)
)

// readTrace reads the output of strace -f -y: a call that another thread's
// interrupted stands in two lines.
func readTrace(r io.Reader) ([]*call, error) {
	var calls []*call
	open := map[string]*call{} // by thread
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for line := 0; scan.Scan(); line++ {
		thread, rest, _ := strings.Cut(scan.Text(), " ")
		rest = strings.TrimLeft(rest, " ")
		c := open[thread]
		if m := resumed.FindStringSubmatch(rest); m != nil && c != nil {
			delete(open, thread)
			rest = m[2]
		} else if m := callStart.FindStringSubmatch(rest); m != nil {
			c = &call{thread: thread, name: m[1], fd: m[2], file: m[3], text: rest, start: line, end: -1}
			calls = append(calls, c)
		} else {
			continue // a signal, an exit
		}
		if strings.HasSuffix(rest, "<unfinished ...>") {
			open[thread] = c
			continue
		}
		c.finish(rest, line)
	}
	return calls, scan.Err()
}

// finish takes the result behind the last ") = ".
func (c *call) finish(rest string, line int) {
	if k := strings.LastIndex(rest, ") = "); k >= 0 {
		c.result = rest[k+4:]
	} else if k := strings.LastIndex(rest, " = "); k >= 0 { // padded
		c.result = rest[k+3:]
	}
	c.result, c.injected = strings.CutSuffix(c.result, " (INJECTED)")
	c.end = line
}

// descriptor is the descriptor that an open returned.
func (c *call) descriptor() string {
	n, _, _ := strings.Cut(c.result, "<")
	if _, err := strconv.Atoi(n); err != nil {
		return ""
	}
	return n
}

// audit is what a trace tells of the rules for descriptors and
// acknowledgements.
type audit struct {
	failed   int // writes and syncs of the spool that failed
	reused   []string
	acks     int
	unsynced []string // acknowledgements that no good sync came before
}

// auditTrace goes through the calls of a run with one client that sends one
// message after the other, so that each acknowledgement has a sync of its own:
// one that began after the 354, and ended well before the 250. (One that fails
// in between may be for the outcome of an attempt.)
func auditTrace(calls []*call) *audit {
	a := &audit{}
	bad := map[string]*call{} // descriptors on which a call failed
	asked, synced := -1, -1   // when the last 354 was sent, the last good sync began
	for _, e := range byTime(calls) {
		c := e.call
		switch {
		case !e.end && c.name == "close":
			delete(bad, c.fd)
		case !e.end && changes(c) && bad[c.fd] != nil:
			a.reused = append(a.reused, c.text+" after "+bad[c.fd].text)
		case !e.end && says(c, "354 "):
			asked = c.start
		case !e.end && says(c, "250 2.0.0 Ok: queued as"):
			if a.acks++; synced <= asked {
				a.unsynced = append(a.unsynced, c.text)
			}
			asked = c.start
		case e.end && c.name == "openat":
			delete(bad, c.descriptor())
		case e.end && changes(c) && c.failed() && strings.Contains(c.file, "/spool/"):
			a.failed++
			bad[c.fd] = c
		case e.end && c.name == "fdatasync" && c.isSegment() && strings.HasPrefix(c.result, "0"):
			synced = max(synced, c.start)
		}
	}
	return a
}

// changes tells that c writes to a file, or makes it durable.
func changes(c *call) bool { return c.isSync() || c.name == "pwrite64" || c.name == "pwritev" }

func says(c *call, reply string) bool {
	return (c.name == "write" || c.name == "writev") && strings.Contains(c.text, `"`+reply)
}

// event is the start or the end of a call.
type event struct {
	call *call
	end  bool
}

func byTime(calls []*call) []event {
	last := 0
	for _, c := range calls {
		last = max(last, c.start, c.end)
	}
	lines := make([][]event, last+1)
	for _, c := range calls {
		lines[c.start] = append(lines[c.start], event{c, false})
		if c.end >= 0 {
			lines[c.end] = append(lines[c.end], event{c, true})
		}
	}
	var events []event
	for _, l := range lines {
		events = append(events, l...)
	}
	return events
}

func TestAuditTrace(t *testing.T) {
	const seg = "<tcp:x>"
	for _, c := range []struct {
		name, trace                    string
		acks, failed, reused, unsynced int
	}{
		{"good", `7 pwrite64(5</d/spool/seg/1.log>, "x", 1, 0) = 1
7 fdatasync(5</d/spool/seg/1.log> <unfinished ...>
8 write(9` + seg + `, "250 2.1.0 Ok\r\n", 14) = 14
7 <... fdatasync resumed>)          = 0
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
`, 1, 0, 0, 0},
		{"no sync", `8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
`, 1, 0, 0, 1},
		{"one sync for two", `7 fdatasync(5</d/spool/seg/1.log>) = 0
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 2\r\n", 29) = 29
`, 2, 0, 0, 1},
		{"failed", `7 fdatasync(5</d/spool/seg/1.log>) = -1 EIO (Input/output error) (INJECTED)
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
`, 1, 1, 0, 1},
		{"tried again", `7 fdatasync(5</d/spool/seg/1.log>) = -1 EIO (Input/output error) (INJECTED)
7 fdatasync(5</d/spool/seg/1.log>) = 0
`, 0, 1, 1, 0},
		{"another file", `7 fdatasync(5</d/spool/seg/1.log>) = -1 EIO (Input/output error) (INJECTED)
7 close(5</d/spool/seg/1.log>) = 0
7 openat(AT_FDCWD</d>, "/d/spool/seg/2.log", O_RDWR) = 5</d/spool/seg/2.log>
7 fdatasync(5</d/spool/seg/2.log>) = 0
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
`, 1, 1, 0, 0},
		{"sync before the message", `7 fdatasync(5</d/spool/seg/1.log>) = 0
8 write(9` + seg + `, "354 Go ahead\r\n", 14) = 14
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
`, 1, 0, 0, 1},
		{"an outcome's sync failed", `8 write(9` + seg + `, "354 Go ahead\r\n", 14) = 14
7 fdatasync(5</d/spool/seg/1.log>) = 0
7 fdatasync(5</d/spool/seg/1.log>) = -1 EIO (Input/output error) (INJECTED)
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
`, 1, 1, 0, 0},
		{"sync before its end", `7 fdatasync(5</d/spool/seg/1.log> <unfinished ...>
8 write(9` + seg + `, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
7 <... fdatasync resumed>) = 0
`, 1, 0, 0, 1},
	} {
		calls, err := readTrace(strings.NewReader(c.trace))
		if err != nil {
			t.Fatal(err)
		}
		a := auditTrace(calls)
		if a.acks != c.acks || a.failed != c.failed || len(a.reused) != c.reused || len(a.unsynced) != c.unsynced {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}
