// Package queue holds messages between the 250 and the next hop: it makes them
// durable, schedules their delivery, and writes DSNs for what fails. After
// Intake.Commit returns nil the message is ours (RFC 5321 section 6.1), and no
// crash, power cut or failing disk may lose it. docs/queue.md states each
// promise with the command that proves it.
//
// # Follow one message
//
//	Begin      space.go     is there room, counting what is on its way
//	Write      intake.go    in memory; a large message in its own file
//	Commit     intake.go    one ACCEPT record into the batch that is being filled
//	           wal.go       the writer writes, syncs once for all, settles
//	           index.go     now it is in the index, and due
//	Run        dispatch.go  what is due, and the workers
//	           turns.go     destinations take turns (dest.go: domains do, too)
//	           low.go       reports of ours come last, a few a minute
//	           probe.go     what could not be reached is asked now and then
//	           attempt.go   the Deliverer gets it, from the memory it was written from
//	           suspects.go  if this is what crashes us, it will not do so for ever
//	           outcome.go   outcomes become DONE, DEFER or HOLD, failures DSNs (dsn.go)
//	           compact.go   dead segments are recycled, mostly dead ones emptied
//	           digest.go    sealed ones that live on get a digest
//	           scrub.go     all that waits is verified, once a day
//	           epochs.go    keys come and go (erase.go: at once)
//	Open       recover.go   the same records, read again: by digests, by surveys
//	                        (survey.go), or by a careful scan (scan.go)
//
// # Files
//
//	spool/LOCK              flock: one process
//	spool/FORMAT            "mailweir queue 1\n"; 2: sealed or compressed
//	spool/keys/%08x.key     the key of an epoch, sealed, see keys.go; .new and
//	                        .tmp while it is sealed anew
//	spool/keys/%08x.lost    by an admin: what the epoch sealed is given up
//	spool/seg/%016x.log     segments of the log, by number
//	spool/seg/%016x.digest  what a start needs of a sealed one, see digest.go
//	spool/big/<ID>          a large message's body; tmp-* while it arrives
//	spool/TRYING            attempts under way, for the next start; never synced
//	spool/corrupt/          what was broken, for the admin
//
// # Format, version 1
//
// Integers are little endian; "varint" is encoding/binary's. Checksums are
// CRC32C, started with CRC32C(epoch u64, offset u64), offset being where the
// frame or record starts in its file: bytes of an earlier life of the file, or
// of another place, never match.
//
// A segment whose header has another number than its name, as 0 while it is
// overwritten, holds nothing. Else it is a block of 4096 octets with its header,
// and frames, each at a
// multiple of 4096. A block with a frame is never written again while it lives, so
// a torn write can hurt nothing that was acknowledged before.
//
//	segment header
//	 0  magic   u64  "MMWQSEG1"    24  number   u64  as in the name
//	 8  version u32  1             32  size     u64  written ahead
//	12  zero    u32                40  created  i64  Unix ms
//	16  epoch   u64  random        60  checksum u32  of 0..59, started with 0
//
//	frame: one batch, all of it or nothing
//	 0  magic   u32  "MWQF"        40  durable offset  u64 } synced before this
//	 4  version u8   1             48  time            i64   frame was written
//	 5  zero    u8                 56  records         u32
//	 6  80      u16                60  length          u32  with header, without padding
//	 8  epoch   u64                64  zero            u64
//	16  segment u64                72  checksum u32  of 0..71 and every record header
//	24  batch   u64  consecutive   76  checksum u32  of 0..71
//	32  durable segment u64        80  records
//
//	record
//	 0  magic   u16  "QR"           8  message ID [16]
//	 2  type    u8                 24  generation u32  of the copy
//	 3  flags   u8   1: last,      28  checksum   u32  of 0..27 and the payload
//	                 2: sealed     32  payload
//	 4  length  u32  of payload
//
//	type 1 ACCEPT    a copy of the message
//	     2 DONE      states
//	     3 DEFER     states
//	     4 HOLD      states
//	     5 RELEASE   states
//	     6 ERASE     states
//	     7 RELOCATE  a copy with the present state of its recipients
//
//	copy
//	 0  key epoch u32  0: plain     8  length of meta  u32
//	 4  key       u16  its length  12  header sections u32
//	 6  codec     u8   0: none,    16  meta
//	                   1: S2           what follows, compressed as one block:
//	 7  body      u8   0: in line,     header sections: u32 length of each, then all
//	                   1: big/,        the body, or: size u64, offset u64, CRC32C u32
//	                   2: big/, sealed
//
//	meta: flags u8 (1 8BITMIME, 2 SMTPUTF8, 4 may return, 8 own client,
//	      16 in no hurry, 32 signed when relayed),
//	      arrived varint ms, since varint ms, RET, ENVID, reverse-path,
//	      recipients: path, NOTIFY u8, ORCPT, header section uvarint, state
//	states: since varint ms, number uvarint, state of each
//	state: recipient uvarint, status u8, attempts uvarint, next varint ms,
//	       hold, next hop, reply: code uvarint, enhanced 3 uvarint, text
//	next hop: host:port of the last attempt; after a space, where an admin or a rule
//	       rerouted the recipient to
//	text:  length uvarint, octets
//
// # Encryption
//
// AES-256-GCM; keys.go tells of the keys. Of a sealed copy the first 16 octets
// are plain, key epoch not 0, key 32. Then:
//
//	nonce [12], random
//	data key [32], size of the message u64, meta } sealed with the epoch's key
//	tag [16]
//	header sections and body, as above           } sealed with the data key,
//	tag [16]                                     } nonce zero: it is used once
//
// The additional data of the first is 'M', message ID, and the 16 octets; of the
// second 'C', message ID, codec, body. A relocation copies the second as it is.
// The states of a record with the flag "sealed" are: key epoch u32, nonce [12],
// states and tag [16]; additional data 'S', message ID, type, flags. They are
// sealed with the key of the message's copy, so that they end with it. Digests
// are sealed like them ('D' and 76 octets of their header), files in big/ chunk
// by chunk (bigseal.go). In clear are: IDs, which tell when a message arrived,
// types, sizes, which messages are over, and the number of header sections.
//
// States replace what was known of their recipients; the flag "last" says that
// the message is over, and alone keeps it dead: a record with it (a tombstone)
// is needed while any other segment holds a copy of the message.
//
// # Recovery
//
// Segments are read in order. A frame that is not whole at offset X is a torn
// tail when no other frame says that X was durable: it was never acknowledged,
// and all from X on is ignored. Else acknowledged data is damaged: it goes to
// corrupt/, the records in it that are whole by themselves are used, the others
// are counted. An old segment is never appended to.
//
// # Who owns what
//
// One writer goroutine owns the active segment's descriptor. A maker keeps the
// next segment ready, and writes it when no commit is under way (pace.go). A
// janitor removes, empties, digests and expires. A scrubber reads all of it once
// a day. Run owns a clock and the workers that make attempts. Two locks: Queue.mu for the index and the
// schedule, then wal.mu for the batch that is being filled.
package queue
