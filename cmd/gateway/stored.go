package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"mailweir/mail"
)

// envelopesFile is beside stored messages and says how each of them came: one
// JSON object a line, with the path of the message below its folder.
//
//	{"file": "a/1.eml", "client_ip": "192.0.2.1", "helo": "mail.example", "mail_from": "a@example"}
const envelopesFile = "envelopes.jsonl"

// envelopeJSON is one line of it. A null reverse-path is "".
type envelopeJSON struct {
	File     string  `json:"file"`
	ClientIP string  `json:"client_ip"`
	Helo     string  `json:"helo"`
	MailFrom *string `json:"mail_from"`
}

// stored is a message in a file, and how it came, where that is known.
type stored struct {
	path     string // "-" is standard input
	envelope *envelopeJSON
	part     *section // in an mbox file with several messages
	number   int      // of the part, from 1
}

// expand replaces directories by the messages below them, in order of name, and
// mbox files by the messages in them.
func expand(args []string) ([]stored, error) {
	var files []stored
	for _, a := range args {
		info, err := os.Stat(a)
		if a == "-" || err != nil || !info.IsDir() {
			files = append(files, stored{path: a}) // one that is not there is a finding of its own
			continue
		}
		below, err := folder(a)
		if err != nil {
			return nil, err
		}
		files = append(files, below...)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no files in %s", strings.Join(args, ", "))
	}
	return splitAll(files)
}

func splitAll(files []stored) (all []stored, err error) {
	for _, f := range files {
		list := []stored{f}
		if f.path != "-" {
			if list, err = f.split(); err != nil {
				return nil, err
			}
		}
		all = append(all, list...)
	}
	return all, nil
}

// folder lists the messages below dir. An envelopesFile holds for its folder
// and those below.
func folder(dir string) (files []stored, err error) {
	known := map[string]*envelopeJSON{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return readEnvelopes(path, known)
		case d.Type().IsRegular() && d.Name() != envelopesFile:
			files = append(files, stored{path: path})
		}
		return nil
	})
	for i := range files {
		files[i].envelope = known[files[i].path]
	}
	return files, err
}

// readEnvelopes adds the envelopes of a folder to known, by path.
func readEnvelopes(dir string, known map[string]*envelopeJSON) error {
	name := filepath.Join(dir, envelopesFile)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		e := new(envelopeJSON)
		if err := json.Unmarshal(lines.Bytes(), e); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if e.File == "" {
			return fmt.Errorf(`%s:%d: no "file"`, name, n)
		}
		if _, err := netip.ParseAddr(e.ClientIP); err != nil && e.ClientIP != "" {
			return fmt.Errorf(`%s:%d: "client_ip" %q is not an IP address; leave it out where it is not known`, name, n, e.ClientIP)
		}
		known[filepath.Join(dir, filepath.FromSlash(e.File))] = e
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// apply fills in what the command line left open. What no client could have
// said is left out: these files are made by hand or by a script.
func (e *envelopeJSON) apply(o *checkOptions, client *mail.Client, from *mail.Path) {
	if addr, err := netip.ParseAddr(e.ClientIP); err == nil && o.clientIP == "" {
		client.Addr = addr.Unmap()
	}
	if o.helo == "" && mail.ValidDomain(e.Helo, false) {
		client.Helo = e.Helo
	}
	if o.mailFrom == "" && e.MailFrom != nil {
		if p, err := mail.ParsePath(strings.Trim(*e.MailFrom, "<>"), true); err == nil {
			*from = p
		}
	}
}
