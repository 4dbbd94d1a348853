package smtpd

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// clientJob is the environment variable that makes this test binary a client
// instead: a process of its own, so that what the server costs can be measured
// without what the client costs.
const clientJob = "MAILWEIR_SMTPD_CLIENT_JOB"

// startClient runs the client "kind address number size" and returns its
// standard output and the end of it.
func startClient(t testing.TB, kind string, addr net.Addr, number, size int) (*bufio.Reader, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d", clientJob, kind, addr, number, size))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(out), func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func runClientJob(job string) {
	var kind, addr string
	var number, size int
	if _, err := fmt.Sscan(job, &kind, &addr, &number, &size); err != nil {
		panic(err)
	}
	switch kind {
	case "send":
		sendMany(addr, number, size)
	case "idle":
		keepIdle(addr, number, size)
	}
}

// perConnection and connections are the shape of the load.
const (
	perConnection = 100
	connections   = 8
)

// sendMany sends number messages, pipelined as RFC 2920 allows.
func sendMany(addr string, number, size int) {
	jobs := make(chan int, number/perConnection+1)
	for ; number > 0; number -= perConnection {
		jobs <- min(number, perConnection)
	}
	close(jobs)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for n := range jobs {
				sendOn(addr, n, size)
			}
		})
	}
	wg.Wait()
}

const group = "MAIL FROM:<source@client.example>\r\nRCPT TO:<sink@example.org>\r\nDATA\r\n"

func sendOn(addr string, n, size int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	want(r, "220")
	io.WriteString(c, "EHLO client.example\r\n")
	want(r, "250")
	io.WriteString(c, group)
	body := benchMessage(size) + ".\r\n"
	for i := range n {
		want(r, "250")
		want(r, "250")
		want(r, "354")
		if i == n-1 {
			io.WriteString(c, body+"QUIT\r\n")
		} else {
			io.WriteString(c, body+group)
		}
		want(r, "250")
	}
	want(r, "221")
}

// want panics: a client job has nobody to tell.
func want(r *bufio.Reader, code string) {
	for {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			panic(fmt.Sprintf("%q %v, want %s", line, err, code))
		}
		if line[3] == ' ' {
			return
		}
	}
}

// benchMessage is a plain text message of about size octets.
func benchMessage(size int) string {
	const head = "From: source@client.example\r\nTo: sink@example.org\r\nSubject: load\r\n\r\n"
	const line = "The quick brown fox jumps over the lazy dog, and over its own shadow.\r\n"
	return head + strings.Repeat(line, (size-len(head))/len(line))
}

// keepIdle opens number TLS sessions, sends a message through each unless size
// is 0, and leaves them open until its standard input ends.
func keepIdle(addr string, number, size int) {
	var open []net.Conn // else the collector closes them
	for range number {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			panic(err)
		}
		open = append(open, c)
		r := bufio.NewReader(c)
		want(r, "220")
		io.WriteString(c, "EHLO client.example\r\nSTARTTLS\r\n")
		want(r, "250")
		want(r, "220")
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		r = bufio.NewReader(t)
		io.WriteString(t, "EHLO client.example\r\n")
		want(r, "250")
		if size == 0 {
			continue
		}
		io.WriteString(t, group)
		want(r, "250")
		want(r, "250")
		want(r, "354")
		io.WriteString(t, benchMessage(size)+".\r\n")
		want(r, "250")
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	for _, c := range open {
		c.Close()
	}
}
