package events

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// marker stands in the directory while a gateway writes: two numbers of 8
// octets in the machine's order, how many changes came and how many are settled.
// They lie in shared memory, which outlives the process: what a crash cost is
// their difference. After a power cut they can be a little older.
const marker = "open"

const markerSize = 16

// ledger is the marker at work.
type ledger struct {
	memory        []byte
	came, settled *atomic.Int64
}

// openLedger gives a new marker, and what the one of a run that did not end in
// order had unsettled; crashed is false when there was none.
func openLedger(dir string) (l *ledger, lost int64, crashed bool, err error) {
	name := filepath.Join(dir, marker)
	if old, err := os.ReadFile(name); err == nil {
		crashed = true
		if len(old) == markerSize {
			lost = int64(binary.NativeEndian.Uint64(old) - binary.NativeEndian.Uint64(old[8:]))
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, 0, false, err
	}
	if err := os.WriteFile(name, make([]byte, markerSize), 0o600); err != nil {
		return nil, 0, false, err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, false, err
	}
	defer f.Close() // the mapping stays
	memory, err := unix.Mmap(int(f.Fd()), 0, markerSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, 0, false, err
	}
	l = &ledger{memory: memory}
	l.came = (*atomic.Int64)(unsafe.Pointer(&memory[0])) // a mapping begins at a page
	l.settled = (*atomic.Int64)(unsafe.Pointer(&memory[8]))
	return l, max(lost, 0), crashed, nil
}

// close removes the marker: the run has ended in order.
func (l *ledger) close(dir string) error {
	err := os.Remove(filepath.Join(dir, marker))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, unix.Munmap(l.memory))
}
