package queue

import "errors"

// The errors that callers tell apart. All but ErrInternal's kin are
// transient: smtpd answers them with 4yz.
var (
	// ErrNoSpace: too few bytes or inodes are free; intake resumes by itself.
	ErrNoSpace = errors.New("queue: not enough free space in the spool")
	// ErrPoisoned: the disk failed twice in a row. Nothing is accepted and
	// nothing delivered: what cannot be recorded must not be sent.
	ErrPoisoned = errors.New("queue: the spool's disk failed, intake and delivery are stopped")
	// ErrNotDurable: the batch with this message could not be made durable;
	// the message is not ours.
	ErrNotDurable = errors.New("queue: the message could not be made durable")
	// ErrSlow: the disk took longer than a client waits. The message may be
	// durable, and relayed, all the same.
	ErrSlow = errors.New("queue: the disk has not taken the message in time")
	// ErrClosed: the queue is shutting down.
	ErrClosed = errors.New("queue: closed")
	// ErrTooLarge: the header sections of one message exceed MaxHeads.
	ErrTooLarge = errors.New("queue: header sections too large")
	// ErrNotFound: no message of that ID is in the queue.
	ErrNotFound = errors.New("queue: no such message")
	// ErrActive: the message is being relayed this very moment.
	ErrActive = errors.New("queue: message is being relayed right now")
	// ErrChanged: an act was for what a filter selects, and the message is no
	// longer, or never was, of those. Nothing was done.
	ErrChanged = errors.New("queue: the message is none of those that were meant, any more")
	// ErrNoReturn: a message was to be returned, but no DSN may go to its
	// sender, who may be forged: it is held instead.
	ErrNoReturn = errors.New("queue: its sender is not proven, no DSN may go there: it is held as undeliverable; delete it")
	// ErrFormat: the spool was written by a version that this one does not
	// know, or is no spool at all. Nothing was touched.
	ErrFormat = errors.New("queue: unknown spool format")
	// ErrKey: a key that the spool needs is missing, or another one is given.
	// Nothing was touched.
	ErrKey = errors.New("queue: encryption key")
	// ErrInUse: another process has the spool open.
	ErrInUse = errors.New("queue: the spool is in use by another process")
	// ErrDamaged: stored bytes do not match their checksum.
	ErrDamaged = errors.New("queue: stored message is damaged")
)
