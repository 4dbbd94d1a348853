// Package memo remembers a little about many names, and not the names: sixteen
// octets under a keyed hash of each. The table is in memory; what changes is
// appended to a file within a second, by one goroutine, so that a crash loses
// a second of it and nobody ever waits for the disk. The number of entries is
// bounded: when there are too many, old ones give way.
//
// The file, all numbers little-endian: a header of 48 octets,
//
//	 0  8  "MWMEMO01"
//	 8 32  key of the hashes, random; it never leaves this file
//	40  4  0
//	44  4  CRC-32C of octets 0 to 43
//
// and records of 24 octets, the last one of a hash being in force:
//
//	 0  8  hash: SHA-256 of key, kind, NUL and name, the first 64 bits (too few
//	       to append anything to what was hashed)
//	 8  4  when it last changed, seconds since 1970; 0: forgotten
//	12  4  A
//	16  4  B
//	20  4  CRC-32C of octets 0 to 19
//
// A record that is torn or damaged is passed over. A file that has grown to
// more than twice of what is in force is written anew.
package memo
