// Package mime walks the structure of a message while it arrives (RFC 2045,
// RFC 2046): the tree of its parts, what each is and where it lies, and every
// place where mail clients read the same octets in different ways.
//
// The standard library's readers stop at the first fault, and hold to one
// reading; a filter has to go on, and to say that there are two. The walk is
// one pass in linear time, whatever the octets are cut into, and keeps no copy
// of the body: only the start of a line that may be a delimiter, and the header
// section of the part that begins.
//
// Text is decoded on the way and handed to a Sink, so that what content rules
// look at costs no second pass.
//
// # Parts, as they arrive
//
// What wants the content of the parts is a Taker. For each leaf it is told the
// declared type, encoding and disposition and every name that a client may
// show, and then gets the octets with the transfer encoding undone, in pieces
// of at most 8 KiB, which it must copy to keep:
//
//	func (a *attachments) Begin(l *mime.Leaf) mime.Content {
//		if l.Type == "text/plain" && len(l.Names) == 0 {
//			return nil // not wanted
//		}
//		return &attachment{leaf: *l} // Write(p) bool, then End()
//	}
//
// Messages inside the message, encoded ones too, are walked into: their parts
// are leaves like all others, and they themselves are none, unless they lie
// deeper than MaxDepth or MaxEncoded. A check that works in line is a Parts
// (a Taker with Report and Abort) that New is given, next to the Text; it must
// not wait for anything. One that waits, as the virus scanner does, makes a
// Walker of its own and feeds it from Transaction.Follow.
//
// A message with ambiguities has several readings. The leaves of the plain one
// come as they arrive (Leaf.Reading is ""); those of the others come together
// after the last octet, several at a time, and their Reading says what is read
// differently. A Taker thus sees octets more than once, and what it finds in
// any reading counts. Policy decides what an ambiguity means; a Taker need not.
package mime
