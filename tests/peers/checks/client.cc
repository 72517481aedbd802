// A client of the check port on Debian's C++ gRPC, for the conformance tests: cases in, what came of them out.
//
//     client ADDRESS[,ADDRESS…] < cases > results
//
// Lines and their fields are those of tests/conformance/clients.py. Messages are bytes: what they mean is the test's.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr intptr_t kStarted = 1, kWritten = 2, kRead = 3, kFinished = 4, kClosed = 5;

// With several daemons: what one of them does not take is asked of another, as docs/api.md says. Without it 1.51 fails
// a call that it has not sent when its connection is asked to go, whichever server asks.
constexpr char kAgain[] = R"({"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3,
  "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
  "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

struct Case {
  std::string name, kind, path;
  int timeout_ms, cancel_after, workers, lasts_ms;
  bool gzip;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<std::string> messages;
};

struct Result {
  grpc::Status status;
  std::vector<std::string> answers;
};

std::vector<std::string> Split(const std::string& text, char at) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end; (end = text.find(at, start)) != std::string::npos; start = end + 1)
    parts.push_back(text.substr(start, end - start));
  parts.push_back(text.substr(start));
  return parts;
}

std::string FromHex(const std::string& text) {
  std::string out;
  for (size_t at = 0; at + 1 < text.size(); at += 2) out.push_back(std::stoi(text.substr(at, 2), nullptr, 16));
  return out;
}

std::string Hex(const std::string& bytes) {
  static const char* digits = "0123456789abcdef";
  std::string out;
  for (unsigned char one : bytes) {
    out.push_back(digits[one >> 4]);
    out.push_back(digits[one & 15]);
  }
  return out;
}

Case Parse(const std::string& line) {
  std::vector<std::string> field = Split(line, '\t');
  Case one{field[0], field[1], field[2], std::stoi(field[3]), std::stoi(field[4]),
           std::stoi(field[5]), std::stoi(field[6]), field[7] == "gzip", {}, {}};
  if (!field[8].empty())
    for (const std::string& pair : Split(field[8], ',')) {
      size_t at = pair.find('=');
      one.metadata.emplace_back(pair.substr(0, at), pair.substr(at + 1));
    }
  for (const std::string& message : Split(field[9], ',')) one.messages.push_back(FromHex(message));
  return one;
}

grpc::ByteBuffer Buffer(const std::string& bytes) {
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (buffer.Dump(&slices).ok())
    for (const grpc::Slice& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

// One call. Every kind is one: they differ in what is written when.
Result Run(grpc::GenericStub* stub, const Case& one) {
  grpc::ClientContext context;
  for (const auto& [key, value] : one.metadata) context.AddMetadata(key, value);
  if (one.timeout_ms)
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(one.timeout_ms));
  if (one.gzip) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  context.set_wait_for_ready(one.kind == "many");
  grpc::CompletionQueue queue;
  auto tag = [](intptr_t which) { return reinterpret_cast<void*>(which); };
  auto call = stub->PrepareCall(&context, one.path, &queue);
  call->StartCall(tag(kStarted));
  Result result;
  grpc::ByteBuffer answer;
  size_t written = 0;
  bool ended = false, finished = false;
  auto write = [&] {
    const std::string& message = one.messages[written++];
    call->Write(Buffer(message), tag(kWritten));
  };
  void* got;
  for (bool ok; queue.Next(&got, &ok);) {
    switch (reinterpret_cast<intptr_t>(got)) {
      case kStarted:
        write();
        call->Read(&answer, tag(kRead));
        break;
      case kWritten:
        if (!ok || finished) break;
        if (written == one.messages.size()) {
          if (one.kind != "hold" && !ended) call->WritesDone(tag(kClosed)), ended = true;
        } else if (one.kind != "lockstep") {
          write();
        }
        break;
      case kRead:
        if (!ok) {
          call->Finish(&result.status, tag(kFinished));
          break;
        }
        result.answers.push_back(Bytes(answer));
        if (static_cast<int>(result.answers.size()) == one.cancel_after) context.TryCancel();
        if (one.kind == "lockstep" && written < one.messages.size()) write();
        call->Read(&answer, tag(kRead));
        break;
      case kFinished:
        finished = true;
        queue.Shutdown();
        break;
    }
  }
  return result;
}

// Calls by several workers at once: how many ended with which code, a failure, and the answers that differ.
void RunMany(grpc::GenericStub* stub, const Case& one) {
  std::mutex mutex;
  std::map<int, int> codes;
  std::set<std::string> answers;
  std::string failure;
  std::vector<std::thread> workers;
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(one.lasts_ms);
  for (int worker = 0; worker < one.workers; ++worker)
    workers.emplace_back([&] {
      do {
        Result result = Run(stub, one);
        std::lock_guard<std::mutex> lock(mutex);
        ++codes[result.status.error_code()];
        if (!result.status.ok()) failure = result.status.error_message();
        answers.insert(result.answers.begin(), result.answers.end());
      } while (std::chrono::steady_clock::now() < until);
    });
  for (std::thread& worker : workers) worker.join();
  std::cout << one.name << "\t";
  const char* comma = "";
  for (const auto& [code, count] : codes) std::cout << comma << code << ":" << count, comma = ",";
  std::cout << "\t" << Hex(failure) << "\t\t";
  comma = "";
  for (const std::string& answer : answers) std::cout << comma << Hex(answer), comma = ",";
  std::cout << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::string target = std::string("ipv4:") + argv[1];
  grpc::ChannelArguments arguments;
  if (target.find(',') != std::string::npos) arguments.SetServiceConfigJSON(kAgain);
  auto channel = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
  grpc::GenericStub stub(channel);
  for (std::string line; std::getline(std::cin, line);) {
    Case one = Parse(line);
    if (one.kind == "many") {
      RunMany(&stub, one);
      continue;
    }
    Result result = Run(&stub, one);
    std::cout << one.name << "\t" << result.status.error_code() << "\t" << Hex(result.status.error_message()) << "\t"
              << Hex(result.status.error_details()) << "\t";
    for (size_t at = 0; at < result.answers.size(); ++at)
      std::cout << (at ? "," : "") << Hex(result.answers[at]);
    std::cout << std::endl;
  }
}
