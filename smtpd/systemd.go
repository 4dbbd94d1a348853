package smtpd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstFD is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstFD = 3

// ActivatedListener is a listener whose socket systemd opened, so that port 25
// needs no root and a restart refuses nobody.
type ActivatedListener struct {
	net.Listener
	Name string // FileDescriptorName= of the socket unit
}

// ListenFDs returns the listeners that systemd passed to this process, each an
// *ActivatedListener, in the order of the socket unit. There are none without
// socket activation. The environment is cleared: a child must not take them
// for its own.
func ListenFDs() ([]net.Listener, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("smtpd: LISTEN_FDS=%q is no number", count)
	}
	return listenFiles(firstFD, n, strings.Split(names, ":"))
}

func listenFiles(first, n int, names []string) ([]net.Listener, error) {
	var list []net.Listener
	for i := range n {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		f := os.NewFile(uintptr(first+i), name)
		l, err := net.FileListener(f)
		f.Close() // FileListener has its own descriptor
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, fmt.Errorf("smtpd: descriptor %d (%s) from systemd: %w", first+i, name, err)
		}
		list = append(list, &ActivatedListener{l, name})
	}
	return list, nil
}

// Notify tells systemd a state such as "READY=1" (sd_notify(3)). Without
// systemd it does nothing.
func Notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if name[0] == '@' {
		name = "\x00" + name[1:] // the abstract namespace
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
