package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isTerminal tells whether a person may be at r. /dev/null is a character
// device too, and nobody is there.
func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// ask puts a question that only "y" or "yes" affirms.
func ask(in io.Reader, out io.Writer, format string, args ...any) bool {
	fmt.Fprintf(out, format+" [y/N] ", args...)
	line, _ := bufio.NewReader(in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}
