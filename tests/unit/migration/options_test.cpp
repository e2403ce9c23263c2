#include "migration/options.h"

#include <gmock/gmock.h>

namespace ferry::migration {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using volumes::StringMap;

Error refusal(const StringMap& options, const std::string& name = "copy") {
  const auto request = parse_options(name, options);
  return request ? Error{Code::io, "accepted"} : request.error();
}

TEST(Options, NoneIsAPlainVolume) {
  const auto request = parse_options("copy", {});
  ASSERT_TRUE(request);
  EXPECT_FALSE(request->import);
  EXPECT_FALSE(request->mode);
  EXPECT_TRUE(request->own_options.empty());
}

TEST(Options, ModeBelongsToTheVolume) {
  const auto request = parse_options("copy", {{"mode", "ro"}});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->mode, volumes::Mode::ro);
  EXPECT_EQ(request->own_options, (StringMap{{"mode", "ro"}}));
  EXPECT_EQ(parse_options("copy", {{"mode", "rw"}})->mode, volumes::Mode::rw);
}

TEST(Options, FromNamesAPeerAndAVolume) {
  const std::tuple<const char*, const char*, int, const char*> cases[] = {
      {"hostA", "hostA", 7766, "copy"},
      {"hostA:1", "hostA", 1, "copy"},
      {"hostA/pgdata", "hostA", 7766, "pgdata"},
      {"192.0.2.1:65535/pg.data", "192.0.2.1", 65535, "pg.data"},
      {"[2001:db8::1]:8/pgdata", "2001:db8::1", 8, "pgdata"},
      {"[::1]/pgdata", "::1", 7766, "pgdata"},
  };
  for (const auto& [from, host, port, volume] : cases) {
    const auto request = parse_options("copy", {{"from", from}});
    ASSERT_TRUE(request && request->import) << from;
    EXPECT_EQ(request->import->peer.endpoint.host, host);
    EXPECT_EQ(request->import->peer.endpoint.port, port);
    EXPECT_EQ(request->import->volume, volume);
    EXPECT_EQ(request->import->terms.freeze, Freeze::pause);
    EXPECT_TRUE(request->own_options.empty());
  }
}

TEST(Options, CopiesOfVolumesHoldWhatWritesToThem) {
  EXPECT_EQ(parse_options("tt", {{"from", "a"}, {"volume", "xx"}})->ticket->terms.freeze, Freeze::pause);
  EXPECT_EQ(parse_options("tt", {{"to", "a"}, {"volume", "xx"}})->exported->terms.freeze, Freeze::pause);
  EXPECT_EQ(parse_options("copy", {{"from", "a"}, {"max-freeze", "2s"}})->import->terms.max_freeze_ms, 2000U);
  for (const StringMap& unfrozen : {StringMap{{"from", "a"}, {"volume", "xx"}, {"move", "true"}},
                                    StringMap{{"to", "file:///x.tar"}, {"volume", "xx"}}, StringMap{{"reclaim", "xx"}},
                                    StringMap{{"from", "a"}, {"container", "db"}}}) {
    const auto request = parse_options("tt", unfrozen);
    ASSERT_TRUE(request) << request.error().message;
    for (const Terms* terms :
         {request->ticket ? &request->ticket->terms : nullptr,
          request->archive_export ? &request->archive_export->terms : nullptr,
          request->reclaim ? &request->reclaim->terms : nullptr, request->service ? &request->service->terms : nullptr})
      if (terms != nullptr) {
        EXPECT_EQ(terms->freeze, Freeze::refuse);
      }
  }
}

TEST(Options, FreezeNoneIsForImports) {
  EXPECT_EQ(parse_options("copy", {{"from", "a"}, {"freeze", "none"}})->import->terms.freeze, Freeze::none);
  EXPECT_THAT(refusal({{"freeze", "none"}}).message, AllOf(HasSubstr("freeze"), HasSubstr("from=")));
}

TEST(Options, LimitIsForImports) {
  EXPECT_EQ(parse_options("copy", {{"from", "a"}, {"limit", "50M"}})->import->terms.limit, 50'000'000U);
  EXPECT_EQ(parse_options("copy", {{"from", "a"}})->import->terms.limit, 0U);
}

TEST(Options, APeerBehindAnSshd) {
  const auto request = parse_options("copy", {{"from", "ssh://ops@a:2222/pgdata"}});
  ASSERT_TRUE(request && request->import) << request.error().message;
  EXPECT_EQ(request->import->peer.text(), "ssh://ops@a:2222");
  EXPECT_EQ(request->import->volume, "pgdata");
  const auto same = parse_options("copy", {{"from", "ssh://a"}});
  EXPECT_EQ(same->import->peer.text(), "ssh://root@a:22");
  EXPECT_EQ(same->import->volume, "copy");
  const auto ticket = parse_options("tt", {{"from", "ssh://[::1]"}, {"volume", "xx,yy"}});
  ASSERT_TRUE(ticket && ticket->ticket) << ticket.error().message;
  EXPECT_EQ(ticket->ticket->peer.text(), "ssh://root@[::1]:22");
  for (const auto& peer : {request->import->peer, ticket->ticket->peer, transport::PeerAddress("a", 7766),
                           transport::PeerAddress::turned(std::string(32, 'a'), "10.0.0.1")}) {
    nlohmann::json json;
    add_to_json(json, peer);
    EXPECT_EQ(peer_of(json), peer);
  }
}

TEST(Options, APasswordInFromIsNotRepeated) {
  for (const auto* from : {"ops:hunter2@a/x", "ops:hun/ter2@a/x", "ops:hunter2@a", "ssh://ops:hunter2@a/x",
                           "ssh://ops:hun/ter2@a/x", "ssh://ops:hunter2@a"}) {
    const Error refused = refusal({{"from", from}});
    EXPECT_EQ(refused.code, Code::invalid_argument);
    EXPECT_THAT(refused.message, AllOf(HasSubstr("option from"), Not(HasSubstr("hun")), Not(HasSubstr("ter2"))));
  }
}

TEST(Options, Compression) {
  using sync::Compression;
  EXPECT_EQ(parse_options("copy", {{"from", "a"}})->import->terms.compression, Compression::automatic);
  for (const auto& [value, compression] :
       {std::pair{"auto", Compression::automatic}, {"zstd", Compression::zstd}, {"none", Compression::none}}) {
    const auto request = parse_options("copy", {{"from", "a"}, {"compress", value}});
    EXPECT_EQ(request->import->terms.compression, compression);
    nlohmann::json json;
    add_to_json(json, request->import->terms);
    EXPECT_EQ(json["compress"], value);
    EXPECT_EQ(terms_of(json).compression, compression);
  }
  EXPECT_EQ(terms_of({{"freeze", "none"}}).compression, Compression::automatic);  // of an older record
}

TEST(Options, EveryBadOneIsNamedWithWhatWouldBeRight) {
  const std::tuple<StringMap, Code, std::vector<std::string>> cases[] = {
      {{{"size", "1G"}},
       Code::invalid_argument,
       {"unknown option \"size\"", "mode, from, to, freeze, limit, compress"}},
      {{{"Mode", "ro"}}, Code::invalid_argument, {"unknown option \"Mode\""}},
      {{{"", ""}}, Code::invalid_argument, {"unknown option \"\""}},
      {{{"mode", "rx"}}, Code::invalid_argument, {"mode=", "rx", "mode=rw or mode=ro"}},
      {{{"mode", ""}}, Code::invalid_argument, {"mode=rw or mode=ro"}},
      {{{"from", ""}}, Code::invalid_argument, {"option from", "HOST"}},
      {{{"from", "/pgdata"}}, Code::invalid_argument, {"option from", "HOST"}},
      {{{"from", "a/"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "a/../x"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "a/b/c"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "a:0"}}, Code::invalid_argument, {"option from", "65535"}},
      {{{"from", "a:65536"}}, Code::invalid_argument, {"option from", "65535"}},
      {{{"from", "a b"}}, Code::invalid_argument, {"option from", "host name"}},
      {{{"from", "::1"}}, Code::invalid_argument, {"option from", "brackets"}},
      {{{"from", "http://a/x"}}, Code::invalid_argument, {"\"http\"", "unknown scheme"}},
      {{{"from", "ssh://"}}, Code::invalid_argument, {"option from", "host is missing", "ssh://[USER@]HOST"}},
      {{{"from", "ssh://a/"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "ssh://a/b/c"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "ssh://a:x/b"}}, Code::invalid_argument, {"option from", "65535"}},
      {{{"from", "ssh://a"}, {"volume", "x"}, {"mode", "ro"}}, Code::invalid_argument, {"option mode"}},
      {{{"from", "ssh://a/vol"}, {"volume", "vol"}}, Code::invalid_argument, {"option from", "a peer alone"}},
      {{{"from", "sftp://ops@a"}}, Code::invalid_argument, {"option from", "sftp://[USER@]HOST[:PORT]/PATH"}},
      {{{"from", "sftp://ops@a/"}}, Code::invalid_argument, {"option from", "path"}},
      {{{"from", "sftp://ops@a/b/../x.tar"}}, Code::invalid_argument, {"option from", ".."}},
      {{{"from", "sftp://ops:12/34@nas/x.tar"}}, Code::invalid_argument, {"option from", "without a password"}},
      {{{"from", "sftp://ops:12/34/5@nas/x.tar"}}, Code::invalid_argument, {"option from", "without a password"}},
      {{{"from", "file://x.tar"}}, Code::invalid_argument, {"option from", "absolute"}},
      {{{"from", "file:///x\ny"}}, Code::invalid_argument, {"option from", "not a path"}},
      {{{"from", "file:///x.tar"}, {"freeze", "none"}}, Code::invalid_argument, {"option freeze", "archive"}},
      {{{"from", "file:///x.tar"}, {"volume", "xx"}}, Code::invalid_argument, {"option from", "archive"}},
      {{{"from", "a"}, {"freeze", "halt"}}, Code::invalid_argument, {"option freeze", "halt", "freeze=pause"}},
      {{{"from", "a"}, {"freeze", "none"}, {"max-freeze", "1s"}},
       Code::invalid_argument,
       {"option max-freeze", "freeze=pause"}},
      {{{"from", "a"}, {"freeze", "pause"}, {"max-freeze", "long"}},
       Code::invalid_argument,
       {"option max-freeze", "long", "500ms"}},
      {{{"to", "file:///x.tar"}, {"volume", "xx"}, {"freeze", "pause"}},
       Code::unsupported,
       {"freeze=pause", "archive"}},
      {{{"from", "a"}, {"limit", "fast"}}, Code::invalid_argument, {"option limit", "\"fast\"", "50M"}},
      {{{"from", "a"}, {"limit", ""}}, Code::invalid_argument, {"option limit", "50M"}},
      {{{"from", "a"}, {"limit", "1K"}}, Code::invalid_argument, {"option limit", "100K"}},
      {{{"limit", "50M"}}, Code::invalid_argument, {"option limit", "from="}},
      {{{"from", "a"}, {"compress", "lz4"}}, Code::invalid_argument, {"option compress", "\"lz4\"", "compress=zstd"}},
      {{{"from", "a"}, {"compress", ""}}, Code::invalid_argument, {"option compress", "compress=auto"}},
      {{{"compress", "zstd"}}, Code::invalid_argument, {"option compress", "from="}},
      {{{"from", "a"}, {"freeze", "x\ny"}}, Code::invalid_argument, {"option freeze", "x\\x0ay", "freeze=none"}},
  };
  for (const auto& [options, code, parts] : cases) {
    const Error refused = refusal(options);
    EXPECT_EQ(refused.code, code) << refused.message;
    for (const auto& part : parts) EXPECT_THAT(refused.message, HasSubstr(part));
    EXPECT_EQ(refused.message.find('\n'), std::string::npos);
  }
}

TEST(Options, ThoseOfTheDocumentationThatAreStillToComeSaySo) {
  for (const auto* key : {"memory", "exclude"}) {
    const Error refused = refusal({{key, "true"}, {"from", "a"}});
    EXPECT_EQ(refused.code, Code::unsupported) << key;
    EXPECT_THAT(refused.message, AllOf(HasSubstr(std::string("option ") + key), HasSubstr("not in this version")));
  }
}

TEST(Options, AServiceIsPlannedWithWhatIsSaidOfIt) {
  const auto request = parse_options("tt", {{"from", "ssh://ops@a"},
                                            {"container", "db"},
                                            {"as", "db2"},
                                            {"volume", "pgdata,/var/lib/x"},
                                            {"rest", "empty"},
                                            {"rename", "pgdata:other,wal:more"},
                                            {"binds", "keep"},
                                            {"shared", "copy"},
                                            {"layer", "false"},
                                            {"start", "false"},
                                            {"dry-run", "true"}});
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_TRUE(request->plan);
  EXPECT_FALSE(request->is_plain());
  EXPECT_FALSE(request->plan->exports);
  EXPECT_EQ(request->plan->peer.text(), "ssh://ops@a:22");
  const auto& options = request->plan->options;
  EXPECT_EQ(options.container, "db");
  EXPECT_EQ(options.name_there(), "db2");
  EXPECT_EQ(options.only, (std::vector<std::string>{"pgdata", "/var/lib/x"}));
  EXPECT_EQ(options.renames, (std::map<std::string, std::string>{{"pgdata", "other"}, {"wal", "more"}}));
  EXPECT_TRUE(options.rest_empty && options.keep_binds && options.copy_shared && !options.layer && !options.start);
  const auto again = service_options_of(nlohmann::json::parse(to_json(options).dump()));
  EXPECT_EQ(to_json(again), to_json(options));
  const auto plain = parse_options("tt", {{"to", "b"}, {"container", "db"}, {"dry-run", "true"}});
  ASSERT_TRUE(plain && plain->plan);
  EXPECT_TRUE(plain->plan->exports && plain->plan->options.layer && plain->plan->options.start);
  EXPECT_EQ(plain->plan->options.name_there(), "db");
}

TEST(Options, AServiceMovesWithoutDryRun) {
  for (const auto& more : {volumes::StringMap{}, volumes::StringMap{{"dry-run", "false"}}}) {
    volumes::StringMap options = {{"from", "a:7000"}, {"container", "db"}, {"as", "db2"}, {"start", "false"}};
    options.insert(more.begin(), more.end());
    const auto parsed = parse_options("tt", options);
    ASSERT_TRUE(parsed) << parsed.error().message;
    ASSERT_TRUE(parsed->service && !parsed->plan && !parsed->is_plain());
    EXPECT_EQ(parsed->service->peer.text(), "a:7000");
    EXPECT_EQ(parsed->service->options.name_there(), "db2");
    EXPECT_FALSE(parsed->service->options.start);
  }
}

TEST(Options, HowLongAServiceMayStandStillCanBeSaid) {
  const auto with = [](const volumes::StringMap& more) {
    volumes::StringMap options = {{"from", "a"}, {"container", "db"}};
    options.insert(more.begin(), more.end());
    return parse_options("tt", options);
  };
  const auto said = with({{"rounds", "3"}, {"max-downtime", "2s"}, {"strict", "true"}});
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->service->terms.rounds, (RoundLimits{3, 2000, true}));
  EXPECT_EQ(round_limits_of(to_json(said->service->terms.rounds)), said->service->terms.rounds);
  nlohmann::json stored;
  add_to_json(stored, said->service->terms);
  EXPECT_EQ(terms_of(stored).rounds, said->service->terms.rounds);
  EXPECT_EQ(to_json(service_options_of(to_json(said->service->options))), to_json(said->service->options));
  EXPECT_EQ(with({})->service->terms.rounds, RoundLimits{});
  for (const auto& [key, value] : volumes::StringMap{{"rounds", "0"}, {"max-downtime", "0s"}, {"strict", "true"}}) {
    const auto refused = with({{key, value}});
    ASSERT_FALSE(refused) << key;
    EXPECT_THAT(refused.error().message, HasSubstr("option " + key));
  }
  for (const char* value : {"", "x", "-1", "1.5", "101", "99999999999"})
    EXPECT_FALSE(with({{"rounds", value}})) << value;
}

TEST(Options, SoItCanForCopies) {
  const volumes::StringMap said = {{"from", "a"}, {"rounds", "3"}, {"max-downtime", "2s"}, {"strict", "true"}};
  EXPECT_EQ(parse_options("copy", said)->import->terms.rounds, (RoundLimits{3, 2000, true}));
  for (const char* way : {"from", "to"}) {
    const auto ticket = parse_options("tt", {{way, "a"}, {"volume", "xx"}, {"rounds", "2"}});
    ASSERT_TRUE(ticket) << ticket.error().message;
    EXPECT_EQ((ticket->ticket ? *ticket->ticket : *ticket->exported).terms.rounds.most, 2U);
  }
  EXPECT_THAT(refusal({{"rounds", "3"}}).message, AllOf(HasSubstr("option rounds"), HasSubstr("from=")));
  for (const auto& [key, value] : volumes::StringMap{{"freeze", "none"}, {"move", "true"}})
    EXPECT_THAT(refusal({{"from", "a"}, {"volume", "xx"}, {key, value}, {"max-downtime", "1s"}}).message,
                AllOf(HasSubstr("option max-downtime"), HasSubstr("freeze=pause")));
}

TEST(Options, AServiceIsSent) {
  const auto sent = parse_options("tt", {{"to", "b"}, {"container", "db"}, {"limit", "1M"}, {"shared", "copy"}});
  ASSERT_TRUE(sent) << sent.error().message;
  ASSERT_TRUE(sent->exported && sent->exported->service && !sent->plan && !sent->service);
  EXPECT_EQ(sent->exported->peer.text(), "b:7766");
  EXPECT_EQ(sent->exported->terms.limit, 1'000'000U);
  EXPECT_TRUE(sent->exported->hands_off() && sent->exported->volumes.empty());
  EXPECT_EQ(sent->exported->service->container, "db");
  EXPECT_TRUE(sent->exported->service->copy_shared);
}

TEST(Options, WhatIsWrongWithAServiceIsNamed) {
  const std::vector<std::pair<volumes::StringMap, std::vector<std::string>>> cases = {
      {{{"container", ""}}, {"option container", "no name"}},
      {{{"container", "-x"}}, {"option container", "no name"}},
      {{{"container", "a b"}}, {"option container", "no name"}},
      {{{"to", "b"}}, {"option container", "from=HOST", "to=HOST"}},
      {{{"from", "a/pgdata"}}, {"option from"}},
      {{{"from", "sftp://a/x.tar"}}, {"option from"}},
      {{{"as", ""}}, {"option as"}},
      {{{"as", "a/b"}}, {"option as"}},
      {{{"volume", ""}}, {"option volume"}},
      {{{"volume", "a/b"}}, {"option volume"}},
      {{{"rest", "empty"}}, {"option rest", "volume="}},
      {{{"volume", "/x"}, {"rest", "none"}}, {"option rest", "rest=empty or rest=block"}},
      {{{"rename", "x"}}, {"option rename", "OLD:NEW"}},
      {{{"rename", "xx:aa,yy:aa"}}, {"option rename", "two volumes"}},
      {{{"rename", "xx:aa,xx:bb"}}, {"option rename", "two names"}},
      {{{"rename", "xx:../x"}}, {"option rename"}},
      {{{"binds", "copy"}}, {"option binds", "binds=keep"}},
      {{{"shared", "keep"}}, {"option shared", "shared=copy"}},
      {{{"layer", "maybe"}}, {"option layer", "layer=true"}},
      {{{"start", "no"}}, {"option start", "start=true"}},
      {{{"move", "true"}}, {"option move", "leave it out"}},
      {{{"mode", "ro"}}, {"option mode", "option container"}},
      {{{"freeze", "none"}}, {"option freeze", "option container"}},
      {{{"replace", "true"}}, {"option replace", "option container"}},
      {{{"memory", "true"}}, {"option memory", "not in this version"}},
  };
  for (const auto& [more, parts] : cases) {
    volumes::StringMap options = {{"from", "a"}, {"container", "db"}};
    for (const auto& [key, value] : more) options[key] = value;
    if (!more.contains("dry-run") && !more.empty()) options["dry-run"] = "true";
    const Error refused = refusal(options);
    for (const auto& part : parts) EXPECT_THAT(refused.message, HasSubstr(part));
    EXPECT_EQ(refused.message.find('\n'), std::string::npos);
  }
  for (const char* option : {"rest", "binds", "shared", "layer", "start"})
    EXPECT_THAT(refusal({{"from", "a"}, {option, "true"}}).message,
                AllOf(HasSubstr(std::string("option ") + option), HasSubstr("container=NAME")));
}

TEST(Options, ATicketNamesVolumesOfAPeer) {
  const auto request = parse_options("tt", {{"from", "a:1"},
                                            {"volume", "xx,yy,zz"},
                                            {"rename", "xx:yy,yy:xx"},
                                            {"freeze", "none"},
                                            {"limit", "1M"},
                                            {"replace", "true"},
                                            {"dry-run", "false"}});
  ASSERT_TRUE(request && request->ticket);
  EXPECT_FALSE(request->import);
  const auto& ticket = *request->ticket;
  EXPECT_EQ(ticket.peer.text(), "a:1");
  ASSERT_EQ(ticket.volumes.size(), 3U);
  for (const auto& [i, source, target] : {std::tuple(0, "xx", "yy"), {1, "yy", "xx"}, {2, "zz", "zz"}}) {
    EXPECT_EQ(ticket.volumes[static_cast<std::size_t>(i)].source, source);
    EXPECT_EQ(ticket.volumes[static_cast<std::size_t>(i)].target, target);
  }
  EXPECT_EQ(ticket.terms.freeze, Freeze::none);
  EXPECT_EQ(ticket.terms.limit, 1'000'000U);
  EXPECT_TRUE(ticket.replace);
  EXPECT_FALSE(ticket.dry_run);
  const auto as = parse_options("tt", {{"from", "a"}, {"volume", "xx"}, {"as", "copy"}});
  ASSERT_TRUE(as && as->ticket);
  EXPECT_EQ(as->ticket->volumes.front().target, "copy");
  EXPECT_EQ(parse_options("tt", {{"retry", "xx"}})->retry, "xx");
}

TEST(Options, AnExportNamesVolumesOfThisHost) {
  const auto request =
      parse_options("tt", {{"to", "ssh://ops@b"}, {"volume", "xx,yy"}, {"rename", "xx:tt"}, {"limit", "1M"}});
  ASSERT_TRUE(request && request->exported) << request.error().message;
  EXPECT_FALSE(request->ticket || request->import);
  EXPECT_EQ(request->exported->peer.text(), "ssh://ops@b:22");
  EXPECT_EQ(request->exported->volumes.front().source, "xx");
  EXPECT_EQ(request->exported->volumes.front().target, "tt") << "a name of another host";
  EXPECT_EQ(request->exported->terms.limit, 1'000'000U);
}

TEST(Options, ASenselessExportIsRefused) {
  const std::pair<StringMap, const char*> cases[] = {
      {{{"to", "b"}}, "add volume="},
      {{{"to", "b"}, {"from", "a"}, {"volume", "xx"}}, "option to: it excludes from="},
      {{{"to", "b"}, {"volume", "tt"}}, "ticket's own name"},
      {{{"to", "b/xx"}, {"volume", "xx"}}, "a peer alone; use to=HOST"},
      {{{"to", ""}, {"volume", "xx"}}, "option to"},
      {{{"to", "ftp://b"}, {"volume", "xx"}}, "unknown scheme; use to=HOST"},
      {{{"to", "b"}, {"volume", "xx,yy"}, {"rename", "xx:yy"}}, "would be named yy"},
      {{{"to", "b"}, {"volume", "xx"}, {"mode", "ro"}}, "option mode"},
  };
  for (const auto& [options, part] : cases) {
    const auto refused = parse_options("tt", options);
    ASSERT_FALSE(refused) << part;
    EXPECT_EQ(refused.error().code, Code::invalid_argument);
    EXPECT_THAT(refused.error().message, HasSubstr(part));
  }
  const auto secret = parse_options("tt", {{"to", "ops:hun/ter2@b"}, {"volume", "xx"}});
  EXPECT_THAT(secret.error().message, Not(HasSubstr("hun")));
}

TEST(Options, AnArchiveIsAFileBehindAnSshdOrInTheMountedDirectory) {
  const auto there =
      parse_options("tt", {{"to", "sftp://ops@nas:2222/b/pg.tar.zst"}, {"volume", "xx"}, {"replace", "true"}});
  ASSERT_TRUE(there) << there.error().message;
  ASSERT_TRUE(there->archive_export);
  EXPECT_EQ(there->archive_export->address.text(), "sftp://ops@nas:2222/b/pg.tar.zst");
  EXPECT_EQ(there->archive_export->volume, "xx");
  EXPECT_TRUE(there->archive_export->replace);
  EXPECT_FALSE(there->is_plain());
  for (const char* address : {"sftp://root@nas:22/x.tar", "sftp://ops@[::1]:22/a,b c%.tar", "file:///x@y.tar"}) {
    const auto parsed = parse_archive_address(address);
    ASSERT_TRUE(parsed) << address << ": " << parsed.error().message;
    EXPECT_EQ(parsed->text(), address);
  }
  const auto here = parse_options("xx", {{"from", "file:///pg.cpio"}, {"mode", "ro"}});
  ASSERT_TRUE(here) << here.error().message;
  EXPECT_EQ(here->archive_import->address.path, "/pg.cpio");
  for (const auto& [options, part] : std::vector<std::pair<volumes::StringMap, const char*>>{
           {{{"to", "file:///x.zip"}, {"volume", "xx"}}, ".tar.zst"},
           {{{"to", "file:///x.tar"}}, "volume"},
           {{{"to", "file:///x.tar"}, {"volume", "xx,yy"}}, "one volume"},
           {{{"to", "file:///x.tar"}, {"volume", "xx"}, {"as", "yy"}}, "option as"},
           {{{"to", "file:///x.tar"}, {"volume", "xx"}, {"move", "true"}}, "option move"}}) {
    const auto refused = parse_options("tt", options);
    ASSERT_FALSE(refused) << part;
    EXPECT_EQ(refused.error().code, Code::invalid_argument);
    EXPECT_THAT(refused.error().message, HasSubstr(part));
  }
}

TEST(Options, ASenselessTicketIsRefused) {
  const std::pair<StringMap, const char*> cases[] = {
      {{{"volume", "xx"}}, "from="},
      {{{"from", "a/xx"}, {"volume", "xx"}}, "option from"},
      {{{"from", "a"}, {"volume", "xx,xx"}}, "twice"},
      {{{"from", "a"}, {"volume", "xx,"}}, "option volume"},
      {{{"from", "a"}, {"volume", "xx,../yy"}}, "option volume"},
      {{{"from", "a"}, {"volume", "tt"}}, "ticket's own name"},
      {{{"from", "a"}, {"volume", "xx"}, {"mode", "ro"}}, "option mode"},
      {{{"from", "a"}, {"volume", "xx,yy"}, {"as", "zz"}}, "option as"},
      {{{"from", "a"}, {"volume", "xx"}, {"as", "zz"}, {"rename", "xx:yy"}}, "as and rename"},
      {{{"from", "a"}, {"volume", "xx"}, {"rename", "yy:zz"}}, "\"yy\" is not among"},
      {{{"from", "a"}, {"volume", "xx"}, {"rename", "xx"}}, "OLD:NEW"},
      {{{"from", "a"}, {"volume", "xx,yy"}, {"rename", "xx:yy"}}, "would be named yy"},
      {{{"from", "a"}, {"volume", "xx"}, {"replace", "maybe"}}, "replace=true"},
      {{{"from", "a"}, {"volume", "xx"}, {"dry-run", ""}}, "dry-run=true"},
      {{{"from", "a"}, {"as", "zz"}}, "option as"},
      {{{"replace", "true"}}, "option replace"},
      {{{"retry", "xx"}, {"from", "a"}}, "option from"},
      {{{"retry", "tt"}}, "option retry"},
  };
  for (const auto& [options, fragment] : cases) {
    const Error refused = refusal(options, "tt");
    EXPECT_EQ(refused.code, Code::invalid_argument) << fragment;
    EXPECT_THAT(refused.message, HasSubstr(fragment));
  }
}

TEST(Options, AnErrorIsShortWhateverIsGiven) {
  const std::string longest(1 << 20, 'x');
  for (const StringMap& options :
       {StringMap{{longest, ""}}, StringMap{{"mode", longest}}, StringMap{{"from", longest}},
        StringMap{{"from", "a/" + longest}}, StringMap{{"from", longest + "://"}},
        StringMap{{"from", "a"}, {"freeze", longest}}, StringMap{{"from", "a"}, {"volume", longest}},
        StringMap{{"from", "a"}, {"volume", "x"}, {"rename", longest}},
        StringMap{{"from", "a"}, {"volume", "x"}, {"replace", longest}}, StringMap{{"retry", longest}}})
    EXPECT_LT(refusal(options).message.size(), 1000U);
}

TEST(Options, TheNameIsCheckedFirst) {
  EXPECT_THAT(refusal({{"size", "1"}}, "../x").message, HasSubstr("not a volume name"));
}

}  // namespace
}  // namespace ferry::migration
