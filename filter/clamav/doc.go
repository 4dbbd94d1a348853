// Package clamav asks ClamAV's daemon whether a message holds malware.
//
// clamd.go, stream.go and reply.go are a client for the INSTREAM
// command of clamd(8) that knows nothing of mail; check.go makes a filter.Check
// of it. docs/adr/0002 says why the client is our own.
//
// One connection, one stream, one reply:
//
//	client                                   clamd
//	"zINSTREAM\0"                      ->
//	length (4 octets, big endian), data ->    (repeated, at most 64 KiB each)
//	0 0 0 0                            ->
//	                                   <-    "stream: OK\0"
//	                                         "stream: NAME FOUND\0"
//	                                         "INSTREAM size limit exceeded. ERROR\0"
//
// clamd begins to scan at the end of the stream, not before. What streaming
// saves is the transfer, so a slot and a connection are taken only once the
// first chunk is full or complete, and given back when the sender is slow.
//
// The invariant: exactly "stream: OK", after every octet was written, is clean.
// Everything else is a virus, ErrOversize or another error, and the zero
// Verdict is not clean. A connection that succeeds proves nothing (the kernel
// accepts for a stopped daemon) and neither does PING (it is answered while
// scans hang): health is a small scan.
//
// contents.go scans what a message holds beside the message, each content as a
// stream of its own, and members.go what lies in archives that not every clamd
// unpacks. What holds a slot waits for the sender alone, and not long: never for
// another slot, which could end in a standstill.
//
// Not here: what a virus means for the mail. The policy decides that.
package clamav
