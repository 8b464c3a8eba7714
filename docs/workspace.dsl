workspace "tickcast" "Trades in, calibrated price forecasts out" {

    model {
        user = person "User" "A program or a person that wants forecasts"
        kraken = softwareSystem "Kraken" "Spot exchange: WebSocket v2 and REST" "External"

        tickcast = softwareSystem "tickcast" "Folds trades into candles, features and forecasts with intervals" {
            sim = container "Simulator" "A made-up market behind Kraken's protocol" "Python, aiohttp"
            ingest = container "Ingest" "History, live feed and repairs of holes; each trade once, in order" "Python, websockets, kafka-python"
            log = container "Log" "Topics keyed by the pair, changelogs of the tables" "Redpanda; locally Apache Kafka" "Database"
            worker = container "Worker" "Candles, features, forecasts, sinks; tables in RocksDB" "Python, Faust"
            store = container "Store" "Candles, features, forecasts, holes, dead letters" "ClickHouse; locally chdb behind HTTP" "Database"
            trainer = container "Trainer" "Challengers, and the gate that promotes them" "Python, CatBoost, Optuna"
            registry = container "Registry" "Versions and aliases of the models" "MLflow" "Database"
            api = container "API" "REST and WebSocket" "Python, Litestar"
        }

        ingest -> kraken "trades" "WebSocket, HTTPS"
        ingest -> sim "trades, instead of Kraken" "WebSocket, HTTP"
        ingest -> log "trades, holes, dead letters" "Kafka"
        worker -> log "reads trades; writes candles, features, forecasts" "Kafka"
        worker -> store "batches with a deduplication token" "HTTP"
        worker -> registry "asks for the champion twice a second"
        trainer -> store "reads features" "HTTP"
        trainer -> registry "registers and promotes"
        api -> log "latest values and feed" "Kafka"
        api -> store "history" "HTTP"
        user -> api "asks and subscribes" "HTTPS, WebSocket"
    }

    views {
        systemContext tickcast "Context" {
            include *
            autoLayout lr
        }
        container tickcast "Containers" {
            include *
            autoLayout lr
        }
        styles {
            element "Person" {
                shape person
            }
            element "Database" {
                shape cylinder
            }
            element "External" {
                background #999999
            }
        }
    }
}
