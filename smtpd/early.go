package smtpd

import (
	"net"

	"golang.org/x/sys/unix"
)

// noteEarlyTalker counts clients that speak before the banner. They are served
// all the same: without a delay before the banner a hasty but honest client
// can be among them.
func (c *conn) noteEarlyTalker() {
	t, ok := c.nc.(*net.TCPConn)
	if !ok || c.li.ProxyProtocol {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	var one [1]byte
	n := 0
	raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true // never wait
	})
	if err == nil && n > 0 {
		c.srv.metrics.early.Inc()
	}
}
