package smtpd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenFDs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd())) // listenFiles closes it
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	list, err := listenFiles(fd, 1, []string{"smtp"})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	defer list[0].Close()
	if a := list[0].(*ActivatedListener); a.Name != "smtp" || a.Addr().String() != l.Addr().String() {
		t.Errorf("%q at %v", a.Name, a.Addr())
	}
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	if list, err := ListenFDs(); list != nil || err != nil {
		t.Errorf("took the descriptors of another process: %v, %v", list, err)
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("the environment stays for children")
	}
}

func TestNotify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
}
