// The check service on Debian's C++ gRPC (callback API), over a hash map of the same pairs: a peer of the
// benchmarks.
//
//     server PORT PAIRS
//
// PAIRS is what bench/pairs.py writes: 16 bytes a row, the IMEI's key and its owner's code (0: nobody).
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eir/proto/check.grpc.pb.h"

namespace {

using eir::v1::BatchCheckEquipmentRequest;
using eir::v1::BatchCheckEquipmentResponse;
using eir::v1::CheckEquipmentRequest;
using eir::v1::CheckEquipmentResponse;
using eir::v1::StreamCheckEquipmentRequest;
using eir::v1::StreamCheckEquipmentResponse;

constexpr int kBatchMax = 4096;
constexpr size_t kKeyDigits = 14;
constexpr uint64_t kSerial = 5;

// A hash map with open addressing, three quarters full: the IMEI's key and one more (0: empty), and its owner's
// code. It is not written to after the start. (std::unordered_map takes twice the memory.)
struct Slot {
  uint64_t key, owner;
};
std::vector<Slot> pairs;

// The slot of a key, or the empty one where it would be.
Slot* Find(uint64_t key) {
  size_t at = (key * 0x9E3779B97F4A7C15 >> 32) * pairs.size() >> 32;
  while (pairs[at].key != key + 1 && pairs[at].key != 0)
    if (++at == pairs.size()) at = 0;
  return &pairs[at];
}

bool Digits(std::string_view text, uint64_t* value) {
  for (char one : text) {
    if (one < '0' || one > '9') return false;
    *value = *value * 10 + (one - '0');
  }
  return true;
}

struct Verdict {
  eir::v1::EquipmentStatus status;
  eir::v1::VerdictReason reason;
};

Verdict Judge(std::string_view imei, std::string_view imsi) {
  uint64_t key = 0, code = 1;
  const Slot* found = nullptr;
  if (imei.size() >= kKeyDigits && Digits(imei.substr(0, kKeyDigits), &key) && Digits(imsi, &code)) found = Find(key);
  if (!found || found->key == 0) return {eir::v1::EQUIPMENT_STATUS_GREYLISTED, eir::v1::VERDICT_REASON_NOT_REGISTERED};
  if (found->owner == 0) return {eir::v1::EQUIPMENT_STATUS_GREYLISTED, eir::v1::VERDICT_REASON_NEVER_ACTIVATED};
  if (found->owner == code) return {eir::v1::EQUIPMENT_STATUS_WHITELISTED, eir::v1::VERDICT_REASON_OWNER};
  return {eir::v1::EQUIPMENT_STATUS_GREYLISTED, eir::v1::VERDICT_REASON_OWNED_BY_OTHER};
}

void Answer(const CheckEquipmentRequest& request, CheckEquipmentResponse* response) {
  Verdict verdict = Judge(request.imei(), request.imsi());
  response->set_status(verdict.status);
  response->set_reason(verdict.reason);
  response->set_serial(kSerial);
  if (!request.request_id().empty()) response->set_request_id(request.request_id());
}

// One stream: reads a request, writes its answer, reads the next.
class Stream : public grpc::ServerBidiReactor<StreamCheckEquipmentRequest, StreamCheckEquipmentResponse> {
 public:
  Stream() { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    Answer(request_.check(), response_.mutable_verdict());
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  StreamCheckEquipmentRequest request_;
  StreamCheckEquipmentResponse response_;
};

class Service final : public eir::v1::EquipmentCheckService::CallbackService {
  grpc::ServerUnaryReactor* CheckEquipment(grpc::CallbackServerContext* context,
                                           const CheckEquipmentRequest* request,
                                           CheckEquipmentResponse* response) override {
    Answer(*request, response);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* BatchCheckEquipment(grpc::CallbackServerContext* context,
                                                const BatchCheckEquipmentRequest* request,
                                                BatchCheckEquipmentResponse* response) override {
    auto* reactor = context->DefaultReactor();
    if (request->imei_size() > kBatchMax || request->imsi_size() != request->imei_size()) {
      reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, "the columns are not as long as each other, or too long"});
      return reactor;
    }
    response->mutable_status()->Reserve(request->imei_size());
    response->mutable_reason()->Reserve(request->imei_size());
    for (int row = 0; row < request->imei_size(); row++) {
      Verdict verdict = Judge(request->imei(row), request->imsi(row));
      response->add_status(verdict.status);
      response->add_reason(verdict.reason);
    }
    response->set_serial(kSerial);
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerBidiReactor<StreamCheckEquipmentRequest, StreamCheckEquipmentResponse>* StreamCheckEquipment(
      grpc::CallbackServerContext*) override {
    return new Stream;
  }
};

bool Load(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return false;
  size_t rows = file.tellg() / (2 * sizeof(uint64_t));
  pairs.resize(rows * 4 / 3 + 2);
  file.seekg(0);
  std::vector<uint64_t> block(2 << 16);
  while (rows > 0) {
    size_t count = std::min(rows, block.size() / 2);
    if (!file.read(reinterpret_cast<char*>(block.data()), count * 2 * sizeof(uint64_t))) return false;
    for (size_t row = 0; row < count; row++) *Find(block[2 * row]) = {block[2 * row] + 1, block[2 * row + 1]};
    rows -= count;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s PORT PAIRS\n", argv[0]);
    return 2;
  }
  if (!Load(argv[2])) {
    std::perror(argv[2]);
    return 1;
  }
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(std::string("127.0.0.1:") + argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return 1;
  std::printf("grpc %s, protobuf %d\n", grpc::Version().c_str(), GOOGLE_PROTOBUF_VERSION);
  std::fflush(stdout);
  server->Wait();
}
