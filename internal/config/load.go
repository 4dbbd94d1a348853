package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"unicode/utf8"
)

// Known is what the caller knows and this package does not.
type Known struct {
	// Checks are the names that [checks] disabled may hold; nil: any.
	Checks []string
	// SkipFiles leaves out whether the files that the config names can be
	// read: to check a config on another machine than its own.
	SkipFiles bool
}

// maxFile bounds the config file: it is read whole.
const maxFile = 4 << 20

// Load reads and checks a config file. The error is Errors when the file could
// be read at all.
func Load(path string, known Known) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, known)
}

// Parse checks a config that is in memory. name stands in messages, and its
// folder is what relative paths are relative to.
func Parse(name string, data []byte, known Known) (*Config, error) {
	d := &decoder{file: name, dir: filepath.Dir(name), origins: map[string]origin{}, failed: map[string]bool{}}
	if d.unreadable(data) {
		return nil, d.errs
	}
	c := &Config{file: name}
	root, whole := read(data, d.fault)
	d.table(root, reflect.ValueOf(c).Elem(), "", false)
	d.inherit(reflect.ValueOf(c).Elem())
	c.origins = d.origins
	d.validate(c, known, whole)
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	return c, nil
}

// unreadable reports what makes it pointless to parse at all.
func (d *decoder) unreadable(data []byte) bool {
	switch {
	case len(data) > maxFile:
		d.fault(0, "", "is larger than 4 MiB", "this is no config file")
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		d.fault(1, "", "begins with a byte order mark", "save it as UTF-8 without one")
	case !utf8.Valid(data):
		d.fault(notUTF8(data), "", "is not UTF-8", "save it as UTF-8")
	}
	return len(d.errs) > 0
}

// notUTF8 is the first line that is not UTF-8.
func notUTF8(data []byte) int {
	line := 0
	for l := range bytes.Lines(data) {
		line++
		if !utf8.Valid(l) {
			break
		}
	}
	return line
}
