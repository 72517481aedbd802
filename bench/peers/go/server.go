// The check service on Debian's Go gRPC, over a hash map of the same pairs: a peer of the benchmarks.
//
//	server PORT PAIRS
//
// PAIRS is what bench/pairs.py writes: 16 bytes a row, the IMEI's key and its owner's code (0: nobody).
// Messages are read and written by hand (a raw codec): generated code and reflection would make it slower.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
)

const (
	whitelisted, greylisted                            = 1, 2
	owner, ownedByOther, neverActivated, notRegistered = 16, 35, 36, 37
	batchMax                                           = 4096
	serial                                             = 5
)

// slot of the hash map: the IMEI's key and one more (0: empty), and its owner's code.
type slot struct{ key, owner uint64 }

// pairs is a hash map with open addressing, three quarters full; it is not written to after the start.
// (Go's own map takes twice the memory.)
var pairs []slot

func home(key uint64) uint64 {
	return (key * 0x9E3779B97F4A7C15 >> 32) * uint64(len(pairs)) >> 32
}

// find returns the slot of a key, or the empty one where it would be.
func find(key uint64) *slot {
	for at := home(key); ; at++ {
		if at == uint64(len(pairs)) {
			at = 0
		}
		if one := &pairs[at]; one.key == key+1 || one.key == 0 {
			return one
		}
	}
}

type rawCodec struct{}

func (rawCodec) Name() string                          { return "proto" }
func (rawCodec) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = data
	return nil
}

func digits(text []byte, count int, value uint64) (uint64, bool) {
	if len(text) < count {
		return 0, false
	}
	for _, one := range text[:count] {
		if one < '0' || one > '9' {
			return 0, false
		}
		value = value*10 + uint64(one-'0')
	}
	return value, true
}

func judge(imei, imsi []byte) (byte, byte) {
	key, ok := digits(imei, 14, 0)
	code, well := digits(imsi, len(imsi), 1)
	if !ok || !well {
		return greylisted, notRegistered
	}
	found := find(key)
	switch {
	case found.key == 0:
		return greylisted, notRegistered
	case found.owner == 0:
		return greylisted, neverActivated
	case found.owner == code:
		return whitelisted, owner
	}
	return greylisted, ownedByOther
}

var errMessage = status.Error(codes.InvalidArgument, "the message cannot be read")

// field reads one field: its number, its bytes where it has any, and what follows it.
func field(data []byte) (number uint64, value, rest []byte, err error) {
	tag, size := binary.Uvarint(data)
	if size <= 0 {
		return 0, nil, nil, errMessage
	}
	data = data[size:]
	length, size := binary.Uvarint(data)
	if size <= 0 {
		return 0, nil, nil, errMessage
	}
	data = data[size:]
	switch tag & 7 {
	case 0:
		return tag >> 3, nil, data, nil
	case 2:
		if length > uint64(len(data)) {
			return 0, nil, nil, errMessage
		}
		return tag >> 3, data[:length], data[length:], nil
	}
	return 0, nil, nil, errMessage
}

func answer(request []byte) ([]byte, error) {
	var imei, imsi, id []byte
	for len(request) > 0 {
		number, value, rest, err := field(request)
		if err != nil {
			return nil, err
		}
		switch number {
		case 1:
			imei = value
		case 2:
			imsi = value
		case 6:
			id = value
		}
		request = rest
	}
	judged, reason := judge(imei, imsi)
	out := append(make([]byte, 0, 16+len(id)), 1<<3, judged, 2<<3, reason, 4<<3, serial)
	if len(id) > 0 {
		out = append(append(append(out, 7<<3|2), byte(len(id))), id...)
	}
	return out, nil
}

func batchAnswer(request []byte) ([]byte, error) {
	imei, imsi := make([][]byte, 0, 1024), make([][]byte, 0, 1024)
	for len(request) > 0 {
		number, value, rest, err := field(request)
		if err != nil {
			return nil, err
		}
		switch number {
		case 1:
			imei = append(imei, value)
		case 2:
			imsi = append(imsi, value)
		}
		request = rest
	}
	if len(imei) > batchMax || len(imsi) != len(imei) {
		return nil, status.Error(codes.InvalidArgument, "the columns are not as long as each other, or too long")
	}
	judged, reasons := make([]byte, len(imei)), make([]byte, len(imei))
	for row := range imei {
		judged[row], reasons[row] = judge(imei[row], imsi[row])
	}
	out := make([]byte, 0, 2*len(imei)+16)
	for number, column := range [][]byte{judged, reasons} {
		out = append(out, byte(number+1)<<3|2)
		out = appendVarint(out, uint64(len(column)))
		out = append(out, column...)
	}
	return append(out, 4<<3, serial), nil
}

func appendVarint(out []byte, value uint64) []byte {
	for ; value >= 0x80; value >>= 7 {
		out = append(out, byte(value)|0x80)
	}
	return append(out, byte(value))
}

func unary(name string, call func([]byte) ([]byte, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ interface{}, _ context.Context, read func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
		var request []byte
		if err := read(&request); err != nil {
			return nil, err
		}
		out, err := call(request)
		return &out, err
	}}
}

func stream(_ interface{}, calls grpc.ServerStream) error {
	for {
		var request []byte
		if err := calls.RecvMsg(&request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		_, check, _, err := field(request)
		if err != nil {
			return err
		}
		verdict, err := answer(check)
		if err != nil {
			return err
		}
		out := append(appendVarint([]byte{1<<3 | 2}, uint64(len(verdict))), verdict...)
		if err := calls.SendMsg(&out); err != nil {
			return err
		}
	}
}

func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	about, err := file.Stat()
	if err != nil {
		return err
	}
	pairs = make([]slot, about.Size()/16*4/3+2)
	rows := bufio.NewReaderSize(file, 1<<20)
	var row [16]byte
	for {
		if _, err := io.ReadFull(rows, row[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		key := binary.LittleEndian.Uint64(row[:])
		*find(key) = slot{key + 1, binary.LittleEndian.Uint64(row[8:])}
	}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: server PORT PAIRS")
	}
	if err := load(os.Args[2]); err != nil {
		log.Fatal(err)
	}
	encoding.RegisterCodec(rawCodec{})
	server := grpc.NewServer(grpc.MaxConcurrentStreams(1024))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "eir.v1.EquipmentCheckService",
		HandlerType: (*interface{})(nil),
		Methods:     []grpc.MethodDesc{unary("CheckEquipment", answer), unary("BatchCheckEquipment", batchAnswer)},
		Streams: []grpc.StreamDesc{{StreamName: "StreamCheckEquipment", Handler: stream,
			ServerStreams: true, ClientStreams: true}},
	}, struct{}{})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("grpc-go %s, %s\n", grpc.Version, runtime.Version())
	log.Fatal(server.Serve(listener))
}
