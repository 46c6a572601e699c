"""The table of diagnosis rules.  Thresholds without a § are choices of the harness."""

from __future__ import annotations

from bench.judge.diagnosis import Condition, Rule
from bench.judge.diagnosis_measures import (
    batch_fullness,
    client_rules_broken,
    failed_fraction,
    fixed,
    held_between_fraction,
    latency,
    latency_limit,
    out_of_memory_requests,
    queue_fraction,
    queue_present_fraction,
    reset_fraction,
    run_metric,
    throughput_growth,
    under_ceiling,
    waiting_requests,
)
from bench.judge.metric import Text

_TTFT_ALERT_S = 0.5  # §4.4
_TPOT_ALERT_S = 0.1  # §4.4
_FULL_KV = 0.95  # §4.5.4
_IDEAL_DEVICE = 0.8  # §5.3.3
_ERRORS = 0.001  # §5.4.1
_QUEUED = 0.5
_NOT_QUEUED = 0.2
_QUEUE_PRESENT = 0.5
_FULL_BATCH = 0.9
_ONE_WAITING = 1.0
_HELD_BETWEEN = 0.3
_FLAT = 1.05
_UNDER_CEILING = 0.05
_BUSY_CPU = 0.9
_ONE = 1.0

_TTFT_HIGH = Condition(
    Text("TTFT，限值所在分位", "TTFT at the percentile of its limit"),
    "s",
    latency("ttft_s", _TTFT_ALERT_S),
    latency_limit("ttft_s", _TTFT_ALERT_S),
)
_TPOT_HIGH = Condition(
    Text("TPOT，限值所在分位", "TPOT at the percentile of its limit"),
    "s",
    latency("tpot_s", _TPOT_ALERT_S),
    latency_limit("tpot_s", _TPOT_ALERT_S),
)
_KV_PEAK = Text("KV 缓存使用率峰值", "Peak KV cache usage")
_KV_FULL = Condition(_KV_PEAK, "fraction", run_metric("kv_usage_max_fraction"), fixed(_FULL_KV))
_KV_FREE = Condition(
    _KV_PEAK, "fraction", run_metric("kv_usage_max_fraction"), fixed(_FULL_KV), at_most=True
)
_QUEUE_SHARE = Text("TTFT 中排队所占比例", "Share of TTFT spent in the server's queue")
_NOTHING_WAITS = Condition(
    Text("平均等待请求数", "Mean waiting requests"),
    "requests",
    waiting_requests,
    fixed(_ONE_WAITING),
    at_most=True,
)
_LOW_HITS = Condition(
    Text("命中率低于上限", "Hit rate under the ceiling"),
    "fraction",
    under_ceiling,
    fixed(_UNDER_CEILING),
)
_DEVICE = Text("加速卡利用率", "Accelerator utilisation")
_DEVICE_LOW = Condition(
    _DEVICE,
    "fraction",
    run_metric("device_utilization_fraction"),
    fixed(_IDEAL_DEVICE),
    at_most=True,
)

RULES: tuple[Rule, ...] = (
    Rule(
        name="ttft_queue",
        symptom=Text("TTFT 高，且排队时间长", "TTFT is high and most of it is queueing"),
        conditions=(
            _TTFT_HIGH,
            Condition(_QUEUE_SHARE, "fraction", queue_fraction, fixed(_QUEUED)),
        ),
        cause=Text(
            "准入或预填充受限：到达快于服务端接纳。",
            "Admission or prefill bound: requests arrive faster than they are admitted.",
        ),
        next_step=Text(
            "提高最大批大小与每步 Token 预算（KV 未满时）、增加副本，或降低速率。",
            "Raise the batch limit and the token budget of a step while KV is free, add replicas, "
            "or lower the rate.",
        ),
        source="§5.7.5, §4.5.5",
    ),
    Rule(
        name="ttft_prefill",
        symptom=Text("TTFT 高，但几乎不排队", "TTFT is high and the queue is empty"),
        conditions=(
            _TTFT_HIGH,
            Condition(_QUEUE_SHARE, "fraction", queue_fraction, fixed(_NOT_QUEUED), at_most=True),
        ),
        cause=Text(
            "预填充计算量大，或前缀缓存未命中。", "Prefill compute, or a cold prefix cache."
        ),
        next_step=Text(
            "查看按命中比例划分的 TTFT；启用前缀缓存与分块预填充，缩短提示，或提高张量并行度。",
            "Look at TTFT by share found in the cache; use prefix caching and chunked prefill, "
            "shorter prompts, or more tensor parallelism.",
        ),
        source="§5.7.5, §4.5.5",
    ),
    Rule(
        name="tpot_memory",
        symptom=Text(
            "TPOT 高，KV 缓存满且发生抢占", "TPOT is high, KV is full, requests preempted"
        ),
        conditions=(
            _TPOT_HIGH,
            _KV_FULL,
            Condition(
                Text("抢占次数", "Preemptions"), "requests", run_metric("preemptions"), fixed(_ONE)
            ),
        ),
        cause=Text("显存受限：被抢占的请求要重算。", "Memory bound: what is preempted is redone."),
        next_step=Text(
            "提高显存占比、量化 KV、降低最大批大小或最大长度，或增加副本。",
            "Give KV more memory, quantise it, lower the batch limit or the longest context, or "
            "add replicas.",
        ),
        source="§5.7.5, §4.5.5",
    ),
    Rule(
        name="tpot_bandwidth",
        symptom=Text("TPOT 高，批已满而 KV 未满", "TPOT is high with a full batch and free KV"),
        conditions=(
            _TPOT_HIGH,
            Condition(
                Text("有请求等待的采样比例", "Share of scrapes with a request waiting"),
                "fraction",
                queue_present_fraction,
                fixed(_QUEUE_PRESENT),
            ),
            Condition(
                Text("运行请求数，均值 / 最大值", "Running requests, mean over highest"),
                "fraction",
                batch_fullness,
                fixed(_FULL_BATCH),
            ),
            _KV_FREE,
        ),
        cause=Text("显存带宽受限：解码批太大。", "Bandwidth bound: the decode batch is large."),
        next_step=Text(
            "降低最大批大小、量化权重、使用投机解码，或增加副本。",
            "Lower the batch limit, quantise the weights, decode speculatively, or add replicas.",
        ),
        source="§5.7.5, §4.5.5",
    ),
    Rule(
        name="held_between",
        symptom=Text(
            "TTFT 高、吞吐不再上升，而引擎并未收到全部请求",
            "TTFT is high, throughput flat, and the engine does not see all requests",
        ),
        conditions=(
            _TTFT_HIGH,
            Condition(
                Text("在途而引擎未见的请求比例", "Share of requests in flight the engine lacks"),
                "fraction",
                held_between_fraction,
                fixed(_HELD_BETWEEN),
            ),
            _NOTHING_WAITS,
            Condition(
                Text("输出吞吐，窗口后半 / 前半", "Output tokens, second half over first"),
                "1",
                throughput_growth,
                fixed(_FLAT),
                at_most=True,
            ),
        ),
        cause=Text(
            "客户端与引擎之间受限：网关、代理或 API 进程。",
            "Bound between client and engine: a gateway, a proxy, the API process.",
        ),
        next_step=Text(
            "绕过网关直连引擎再跑一次；查看网关的并发上限与 API 进程的 CPU。",
            "Run again straight at the engine; look at the gateway's concurrency limit and the API "
            "process's CPU.",
        ),
        source="§5.7.5",
    ),
    Rule(
        name="cache_eviction",
        symptom=Text("命中率低于上限，且 KV 缓存满", "Hit rate under the ceiling with KV full"),
        conditions=(_LOW_HITS, _KV_FULL),
        cause=Text("逐出：缓存放不下重复的前缀。", "Eviction: the cache can't hold the prefixes."),
        next_step=Text(
            "增大 KV 缓存或启用下级缓存（内存、SSD），或按前缀路由到固定副本。",
            "Give KV more room or add a lower tier (RAM, SSD), or route by prefix.",
        ),
        source="§7.4.1, §5.7.5",
    ),
    Rule(
        name="cache_routing",
        symptom=Text("命中率低于上限，而 KV 未满", "Hit rate under the ceiling with KV free"),
        conditions=(_LOW_HITS, _KV_FREE),
        cause=Text(
            "路由分散、前缀盐值不同，或前缀缓存未开启。",
            "Routing that spreads a prefix, differing salts, or prefix caching off.",
        ),
        next_step=Text(
            "检查是否按前缀路由、请求是否带盐值、是否开启前缀缓存；窗口内是否包含预热。",
            "Check routing by prefix, salts in requests, that prefix caching is on, and whether "
            "warm-up is inside the window.",
        ),
        source="§7.4.1, §5.7.5",
    ),
    Rule(
        name="admission_limit",
        symptom=Text("服务端拒绝请求（429、503）", "The server refuses requests (429, 503)"),
        conditions=(
            Condition(
                Text("以 429 或 503 失败的比例", "Share failed with 429 or 503"),
                "fraction",
                failed_fraction("http_429", "http_503"),
                fixed(_ERRORS),
            ),
        ),
        cause=Text("达到准入上限或限流。", "An admission limit or a rate limit is reached."),
        next_step=Text(
            "查看限流与队列上限的配置；降低速率或增加副本。",
            "Look at the rate and queue limits configured; lower the rate or add replicas.",
        ),
        source="§5.7.5",
    ),
    Rule(
        name="resets",
        symptom=Text("连接被断开", "Connections are reset"),
        conditions=(
            Condition(
                Text("因断连失败或重发的比例", "Share failed by or sent again after a reset"),
                "fraction",
                reset_fraction,
                fixed(_ERRORS),
            ),
        ),
        cause=Text(
            "网关断开连接，或其空闲保持时间短于客户端。",
            "A gateway cuts connections, or keeps idle ones for less long than the client.",
        ),
        next_step=Text(
            "对齐网关与引擎的 keep-alive 时间，查看网关日志，绕过网关再跑一次。",
            "Align the keep-alive times of gateway and engine, read the gateway's log, run again "
            "without it.",
        ),
        source="§5.7.5",
    ),
    Rule(
        name="timeouts",
        symptom=Text("请求超时", "Requests time out"),
        conditions=(
            Condition(
                Text("超时率", "Timeout rate"),
                "fraction",
                run_metric("timeout_rate"),
                fixed(_ERRORS),
            ),
        ),
        cause=Text(
            "服务端过载或停滞，或超时设得太短。",
            "The server is overloaded or hangs, or the timeouts are short.",
        ),
        next_step=Text(
            "查看错误随时间的分布与排队情况；降低速率，或在负载配方中放宽 timeouts。",
            "Look at errors over time and at the queue; lower the rate, or widen `timeouts` in the "
            "recipe.",
        ),
        source="§13.5",
    ),
    Rule(
        name="out_of_memory",
        symptom=Text("错误信息提到内存不足", "Errors speak of memory that ran out"),
        conditions=(
            Condition(
                Text("提到内存不足的失败请求", "Failed requests that name it"),
                "requests",
                out_of_memory_requests,
                fixed(_ONE),
            ),
        ),
        cause=Text("显存不足（OOM）。", "Out of device memory (OOM)."),
        next_step=Text(
            "降低显存占比、最大批大小或最大长度；查看服务端日志。",
            "Lower the memory fraction, the batch limit or the longest context; read the server's "
            "log.",
        ),
        source="§13.5, §4.5.5",
    ),
    Rule(
        name="device_idle",
        symptom=Text("加速卡利用率低，且无请求等待", "Accelerators idle while nothing waits"),
        conditions=(_DEVICE_LOW, _NOTHING_WAITS),
        cause=Text("负载不足以占满加速卡。", "The load does not fill the accelerators."),
        next_step=Text(
            "提高速率或并发；若延迟已高，查看主机 CPU 与网关。",
            "Raise the rate or the concurrency; where latency is high already, look at host CPU "
            "and gateway.",
        ),
        source="§5.3.3, §13.5",
    ),
    Rule(
        name="server_cpu",
        symptom=Text("主机 CPU 满而加速卡未满", "Host CPU is full and accelerators are not"),
        conditions=(
            Condition(
                Text("主机 CPU 利用率", "Host CPU in use"),
                "fraction",
                run_metric("host_cpu_fraction"),
                fixed(_BUSY_CPU),
            ),
            _DEVICE_LOW,
        ),
        cause=Text(
            "服务端 CPU 受限：分词、调度或序列化。",
            "CPU bound server: tokenising, scheduling, serialising.",
        ),
        next_step=Text(
            "增加 CPU 核与 API 进程，绑定核，移走同机的其他负载。",
            "Give it more cores and API processes, pin them, move other load off the host.",
        ),
        source="§5.7.5",
    ),
    Rule(
        name="client_bound",
        symptom=Text("客户端跟不上", "The client can't keep up"),
        conditions=(
            Condition(
                Text("客户端违反的有效性规则", "Rules of validity the client broke"),
                "1",
                client_rules_broken,
                fixed(_ONE),
            ),
        ),
        cause=Text("压测客户端受限：本次运行无效。", "Client bound: the run is not valid."),
        next_step=Text(
            "增加 --workers 或换更空闲的机器，再跑一次。",
            "Use more --workers or a quieter machine, and run again.",
        ),
        source="metric system §10",
    ),
)
