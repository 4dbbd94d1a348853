package filter

type arrival struct{}
