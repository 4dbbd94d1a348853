package relay

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailweir/mail"
)

// sinkVariable makes the test binary a sink: in a process of its own, so that
// what is measured is the relay's CPU alone.
const sinkVariable = "MAILWEIR_RELAY_BENCH_SINK"

// runBenchSink is that process: it serves until its standard input ends.
func runBenchSink(extensions string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go benchServe(nc, extensions)
		}
	}()
	bufio.NewReader(os.Stdin).ReadString('\n')
}

// benchServe takes everything. Replies go out before it waits for more.
func benchServe(nc net.Conn, extensions string) {
	defer nc.Close()
	r, w := bufio.NewReaderSize(nc, 256<<10), bufio.NewWriter(nc)
	fmt.Fprint(w, "220 sink.example\r\n")
	for {
		if r.Buffered() == 0 {
			w.Flush()
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch string(line[:4]) {
		case "EHLO":
			fmt.Fprintf(w, "250-sink.example\r\n250-%s\r\n250 8BITMIME\r\n", strings.ReplaceAll(extensions, ",", "\r\n250-"))
		case "BDAT":
			n, _ := strconv.Atoi(string(bytes.Fields(line)[1]))
			r.Discard(n)
			w.WriteString("250 2.0.0 Ok: queued as 0123456789\r\n")
		case "DATA":
			w.WriteString("354 Go ahead\r\n")
			w.Flush()
			for string(line) != ".\r\n" {
				if line, err = r.ReadSlice('\n'); err != nil {
					return
				}
			}
			w.WriteString("250 2.0.0 Ok: queued as 0123456789\r\n")
		default:
			w.WriteString("250 2.1.0 Ok\r\n")
		}
	}
}

func startBenchSink(b *testing.B, extensions string) string {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), sinkVariable+"="+extensions)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// BenchmarkDeliver sends messages over kept connections, 16 at once on two
// processors, to a sink in another process. cpu-us/op is the CPU of this process, kernel included.
func BenchmarkDeliver(b *testing.B) {
	for _, extensions := range []string{"PIPELINING,CHUNKING", "PIPELINING"} {
		for _, size := range []int{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%dK", extensions, size>>10), func(b *testing.B) { benchDeliver(b, extensions, size) })
		}
	}
}

func benchDeliver(b *testing.B, extensions string, size int) {
	r := newRelay(b, Options{MaxMessages: 1 << 30}, startBenchSink(b, extensions))
	m := message(strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72), "a@example.net")
	m.Heads[0] = []byte("Subject: test\r\n" + strings.Repeat("X-Some: header field of usual length, to make up a section\r\n", 10) + "\r\n")
	d := r.Route("a@example.net")
	rcpts := []int{0}
	done := func(o mail.Outcome) {
		if o.Result != mail.Relayed {
			b.Fatal(o)
		}
	}
	r.Deliver(b.Context(), d, m, rcpts, done)
	b.SetBytes(m.Size(0))
	b.ReportAllocs()
	before := cpu()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Deliver(b.Context(), d, m, rcpts, done)
		}
	})
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func cpu() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
