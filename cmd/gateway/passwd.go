package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mailweir/internal/password"
)

const passwdHelp = `
gateway passwd USER

Makes a line for the file of outbound.passwords: the user's name and an argon2id
hash of a password, which is asked for on a terminal, or else is the first line
of standard input. Append the line to the file; a running gateway sees it within
a second. USER is best the user's mail address: then outbound.senders = "login"
can hold it to that.

    gateway passwd anna@example.org >>/etc/mailweir/passwords

exit status: 0, or 1 when the password is none.
`

func passwdCommand(_ context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "passwd", passwdHelp)
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 1 {
		return 0, errUsage
	}
	user := rest[0]
	if user == "" || len(user) > password.MaxLength || strings.ContainsAny(user, ":\r\n\x00") || user[0] == '#' || strings.TrimSpace(user) != user {
		return exitError, fmt.Errorf("%q is no user name: at most %d octets, no colon, no white space around it", user, password.MaxLength)
	}
	secret, err := readPassword(std)
	if err != nil {
		return exitError, err
	}
	hash, err := password.Hash(secret)
	if err != nil {
		return exitError, err
	}
	_, err = fmt.Fprintf(std.out, "%s:%s\n", user, hash)
	return exitOK, err
}

// readPassword asks twice on a terminal, without showing what is typed.
func readPassword(std stdio) (string, error) {
	in := bufio.NewReader(std.in)
	line := func() (string, error) {
		s, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && s != "" {
			err = nil
		}
		return strings.TrimRight(s, "\r\n"), err
	}
	f, ok := std.in.(*os.File)
	if !ok {
		return line()
	}
	shown, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil { // no terminal
		return line()
	}
	hidden := *shown
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	defer unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, shown)
	fmt.Fprint(std.err, "Password: ")
	first, err := line()
	if err != nil {
		return "", err
	}
	fmt.Fprint(std.err, "\nAgain: ")
	second, err := line()
	fmt.Fprintln(std.err)
	if err == nil && first != second {
		err = errors.New("the two are not the same")
	}
	return first, err
}
