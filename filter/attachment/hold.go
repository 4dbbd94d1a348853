package attachment

import (
	"fmt"
	"os"
)

// spillAt is from how many octets on a part is held in a file: a message of
// which the end does not come then costs disk, not memory.
const spillAt = 256 << 10

// hold keeps the octets of a part until it is complete.
type hold struct {
	dir  string
	mem  []byte
	file *os.File
	n    int64
	err  error
}

func (h *hold) write(p []byte) {
	h.n += int64(len(p))
	switch {
	case h.err != nil:
	case h.file != nil:
		_, h.err = h.file.Write(p)
	case h.n > spillAt:
		h.spill(p)
	default:
		h.mem = append(h.mem, p...)
	}
}

// spill goes on in a file whose name is gone before anything is in it.
func (h *hold) spill(p []byte) {
	f, err := os.CreateTemp(h.dir, "part-")
	if err != nil {
		h.err = fmt.Errorf("attachment: no room to hold a part: %w", err)
		return
	}
	h.file = f
	if h.err = os.Remove(f.Name()); h.err != nil {
		return
	}
	if _, h.err = f.Write(h.mem); h.err == nil {
		_, h.err = f.Write(p)
	}
	h.mem = nil
}

// load gives all octets, and lets go of the file.
func (h *hold) load() ([]byte, error) {
	defer h.drop()
	if h.err != nil || h.file == nil {
		return h.mem, h.err
	}
	b := make([]byte, h.n)
	if _, err := h.file.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("attachment: a held part cannot be read: %w", err)
	}
	return b, nil
}

func (h *hold) drop() {
	if h.file != nil {
		_ = h.file.Close() // it has no name: this deletes it
		h.file = nil
	}
}
