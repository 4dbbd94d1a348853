package queue

// Room tells whether a message of size octets (0: unknown) would find room at
// this moment: what is asked at MAIL, before Begin takes the room.
func (q *Queue) Room(size int64) error {
	if err := q.log.health(); err != nil {
		return err
	}
	size = max(size, 0)
	if err := q.space.reserve(q, size); err != nil {
		return err
	}
	q.space.add(-size)
	return nil
}
